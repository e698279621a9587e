package auth

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
)

// Members are who belongs to a team.
type Members struct {
	Members []Member `json:"members" nullable:"false" doc:"By name; 500 at most."`
}

// Member is one of them.
type Member struct {
	ID    string    `json:"id" format:"uuid"`
	Name  string    `json:"name"`
	Email string    `json:"email"`
	Role  string    `json:"role" enum:"owner,editor,viewer"`
	Since time.Time `json:"since"`
}

type membersOutput struct{ Body Members }

func (t teams) listMembers(ctx context.Context, in *TeamInput) (*membersOutput, error) {
	found, err := t.members(ctx, in.Team)
	if err != nil {
		return nil, err
	}
	return &membersOutput{Members{found}}, nil
}

// MemberInput names a member of a team.
type MemberInput struct {
	TeamInput
	User uuid.UUID `path:"user" format:"uuid"`
}

type changeRoleInput struct {
	MemberInput
	Body struct {
		Role string `json:"role" enum:"owner,editor,viewer"`
	}
}

func (t teams) changeRole(ctx context.Context, in *changeRoleInput) (*struct{}, error) {
	role := access.Role(in.Body.Role)
	o, err := t.setRole(ctx, in.Team, in.User, role)
	if err != nil {
		return nil, err
	}
	return nil, o.judge(role == access.Owner)
}

// removeMember answers a repeat as the first time.
func (t teams) removeMember(ctx context.Context, in *MemberInput) (*struct{}, error) {
	o, err := t.remove(ctx, in.Team, in.User)
	if err == nil && (o.before != nil || !o.act) {
		err = o.judge(false)
	}
	return nil, err
}

type transferInput struct {
	TeamInput
	Body struct {
		User uuid.UUID `json:"user" format:"uuid" doc:"A member, who becomes an owner."`
	}
}

func (t teams) handOver(ctx context.Context, in *transferInput) (*struct{}, error) {
	if in.Body.User == access.CallerOf(ctx).User {
		return nil, fault.InvalidField("body.user", "must be somebody else: the team is yours")
	}
	o, err := t.transfer(ctx, in.Team, in.Body.User)
	if err != nil {
		return nil, err
	}
	return nil, o.judge(true)
}

func (t teams) leaveTeam(ctx context.Context, in *TeamInput) (*struct{}, error) {
	o, err := t.leave(ctx, in.Team)
	if err != nil {
		return nil, err
	}
	o.act = true // over oneself
	return nil, o.judge(false)
}

// judge tells why nothing was changed, if so. keepsOwner is whether the member is
// an owner afterwards.
func (o outcome) judge(keepsOwner bool) error {
	switch {
	case !o.act:
		return fault.New(fault.Forbidden, "role_too_low", "You are no owner of this team any more. An owner can change that.")
	case o.before == nil:
		return fault.New(fault.NotFound, "not_found", "The team has no such member. GET its members to list them.")
	case *o.before == string(access.Owner) && !keepsOwner && !o.spare:
		return fault.New(fault.Conflict, "last_owner", "This is the last owner, whom every team needs. Make somebody else an owner first.")
	}
	return nil
}
