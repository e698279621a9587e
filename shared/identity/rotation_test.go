package identity_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/devops-dashboard/dashboard/shared/identity"
)

func TestRotation(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]identity.KeyKind{"access": identity.AccessKeys, "refresh": identity.RefreshKeys} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := kind.New()
			old := set.IDs()[0]
			published, fresh, err := set.Publish()
			if err != nil || !slices.Equal(published.IDs(), []string{old, fresh}) || old == fresh {
				t.Fatalf("published: %v, %v", published, err)
			}
			again, err := kind.Read(published.Secret())
			if err != nil || again.Secret() != published.Secret() || !slices.Equal(again.IDs(), published.IDs()) {
				t.Errorf("what is printed reads as %v, %v", again, err)
			}
			signing, err := published.Sign(fresh)
			if err != nil || !slices.Equal(signing.IDs(), []string{fresh, old}) {
				t.Errorf("signing: %v, %v", signing, err)
			}
			if twice, err := signing.Sign(fresh); err != nil || twice.Secret() != signing.Secret() {
				t.Errorf("signing twice: %v, %v", twice, err)
			}
			if _, err := signing.Retire(fresh); err == nil || !strings.Contains(err.Error(), fresh+" signs") {
				t.Errorf("the key that signs is retired: %v", err)
			}
			retired, err := signing.Retire(old)
			if err != nil || !slices.Equal(retired.IDs(), []string{fresh}) {
				t.Errorf("retired: %v, %v", retired, err)
			}
			for _, do := range []func(string) (identity.KeySet, error){retired.Sign, retired.Retire} {
				if _, err := do(old); err == nil || !strings.Contains(err.Error(), fresh) {
					t.Errorf("a key that is not there: %v", err)
				}
			}
			// What was returned before is left alone.
			if !slices.Equal(set.IDs(), []string{old}) || !slices.Equal(published.IDs(), []string{old, fresh}) || !slices.Equal(signing.IDs(), []string{fresh, old}) {
				t.Errorf("a set changed: %v, %v, %v", set, published, signing)
			}
			if got := fmt.Sprintf("%v %+v %s", signing, signing, signing); strings.Contains(got, `"`) || !strings.Contains(got, fresh+" "+old) {
				t.Errorf("a set shows as %s", got)
			}
		})
	}
}

func TestASetTakesNoMoreKeysThanItMayHave(t *testing.T) {
	t.Parallel()
	set := identity.RefreshKeys.New()
	for {
		more, _, err := set.Publish()
		if err != nil {
			if !strings.Contains(err.Error(), "retire one") || len(set.IDs()) != 16 {
				t.Errorf("%d keys: %v", len(set.IDs()), err)
			}
			break
		}
		set = more
	}
	if _, err := identity.RefreshKeys.Read(set.Secret()); err != nil {
		t.Error(err)
	}
}

func TestOnlyASetOfItsKindIsRead(t *testing.T) {
	t.Parallel()
	access, refresh := identity.AccessKeys.New(), identity.RefreshKeys.New()
	if _, err := identity.AccessKeys.Read(refresh.Secret()); err == nil || !strings.HasPrefix(err.Error(), "ACCESS_SIGNING_KEYS: key 1") {
		t.Errorf("refresh keys read as access keys: %v", err)
	}
	if _, err := identity.AccessKeys.Read(access.Public()); err == nil || !strings.Contains(err.Error(), `"d" is absent`) {
		t.Errorf("public keys read as private ones: %v", err)
	}
	if _, err := identity.RefreshKeys.Read(access.Secret()); err == nil || !strings.HasPrefix(err.Error(), "REFRESH_KEYS: key 1") {
		t.Errorf("access keys read as refresh keys: %v", err)
	}
}
