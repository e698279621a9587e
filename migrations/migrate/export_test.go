package migrate

var (
	// Grant is the part of Up that follows the migrations.
	Grant = grant
	// Groups are the roles that the grants name.
	Groups = groups
	// Job is what the migrate job declares, and RunIn runs it in an environment.
	Job   = job
	RunIn = run
)
