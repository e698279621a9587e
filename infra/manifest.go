// Package infra holds the manifest for those who read it at run time. What stands
// in it is printed from functions.All; package function says what it means.
package infra

import _ "embed"

// Manifest is functions.json.
//
//go:embed functions.json
var Manifest []byte
