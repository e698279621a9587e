package github

// APIOf returns where a peer's API is.
func APIOf(p *Peer) string { return p.api }
