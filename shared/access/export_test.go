package access

// ClauseOf is Teams for a caller.
func ClauseOf(c Caller) Clause { return c.teams() }
