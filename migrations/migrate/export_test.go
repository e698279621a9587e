package migrate

var (
	// Grant is the part of Up that follows the migrations.
	Grant = grant
	// Groups are the roles that the grants name.
	Groups = groups
)
