package health

import "context"

// Version says what is deployed.
type Version struct {
	Commit string `json:"commit" doc:"The deployed commit, or dev where the build does not know it."`
}

type versioned struct {
	CacheControl string `header:"Cache-Control"`
	Body         Version
}

func (c *checker) version(context.Context, *struct{}) (*versioned, error) {
	return &versioned{"no-store", Version{c.release}}, nil
}
