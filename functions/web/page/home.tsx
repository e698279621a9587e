// What a signed-in person sees: the head of the page, and the view that they chose.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Profile, Service } from "./answers";
import { Failure, useAnswer } from "./answer";
import { teamOf, useChoice } from "./choice";
import { Dashboard, Pickers } from "./dashboard";
import { fragmentOf, viewOf, type View } from "./fragment";
import { explain } from "./http";
import { Mark } from "./mark";
import { Name } from "./name";
import { signOut } from "./session";
import { Settings } from "./settings";
import { visible } from "./words";

/** SignedIn is the page of somebody who is; notice is what is to be told first. */
export function SignedIn({ notice, heard }: { notice: string | undefined; heard: () => void }) {
  const profile = useAnswer<Profile>("/api/auth/me");
  const services = useAnswer<{ services: Service[] }>("/api/metrics/services");
  const [choice, change] = useChoice();
  const view = useView();
  const main = useRef<HTMLElement>(null);
  const teams = profile.data?.teams ?? [];
  const all = services.data?.services ?? [];
  const team = teamOf(choice, teams, all);

  const came = useRef(view);
  useEffect(() => {
    if (came.current === view) return; // not where the page begins
    came.current = view;
    main.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [view]);

  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault(); // the fragment says which view is shown
          main.current?.focus();
        }}
      >
        Skip to the content
      </a>
      <header class="top">
        <a class="home" href={fragmentOf("figures")} aria-label="Dashboard">
          <Mark />
        </a>
        <div class="pickers">
          {teams.length > 1 && (
            <>
              <label class="sr" for="team">
                Team
              </label>
              <select id="team" value={team} dir="auto" onChange={(e) => change({ team: e.currentTarget.value })}>
                {teams.map((t) => (
                  <option key={t.id} value={t.id}>
                    {visible(t.name)}
                  </option>
                ))}
              </select>
            </>
          )}
          {view === "figures" && <Pickers services={all} team={team} choice={choice} change={change} />}
        </div>
        <div class="who">
          {profile.data && (
            <span title={visible(profile.data.email)}>
              <Name of={profile.data.name} />
            </span>
          )}
          <a href={fragmentOf("team")} aria-current={view === "figures" ? undefined : "true"}>
            Settings
          </a>
          <SignOut />
        </div>
      </header>
      <main id={view === "figures" ? "figures" : "settings"} tabIndex={-1} ref={main}>
        {notice && <Notice heard={heard}>{notice}</Notice>}
        {view === "figures" ? (
          <Dashboard services={services} team={team} choice={choice} change={change} />
        ) : profile.data ? (
          <Settings
            view={view}
            profile={profile.data}
            team={teams.find((t) => t.id === team)}
            changed={profile.again}
            goTo={(next) => {
              change({ team: next });
              profile.again();
              services.again();
            }}
          />
        ) : profile.error !== undefined ? (
          <Failure error={profile.error} again={profile.again} />
        ) : (
          <div class="waiting" aria-busy="true" />
        )}
      </main>
      <footer class="foot">
        <a href="/api/docs">API</a>
        <a href="/assets/licences.txt">Licences</a>
      </footer>
    </>
  );
}

/** useView returns the view that the address names. */
function useView(): View {
  const [view, setView] = useState(() => viewOf(location.hash));
  useEffect(() => {
    const look = () => setView(viewOf(location.hash));
    addEventListener("hashchange", look);
    look(); // the reader may have been faster
    return () => removeEventListener("hashchange", look);
  }, []);
  return view;
}

function Notice({ heard, children }: { heard: () => void; children: ComponentChildren }) {
  return (
    <div class="notice bad" role="alert">
      <p>{children}</p>
      <button type="button" class="quiet" onClick={heard}>
        Close
      </button>
    </div>
  );
}

function SignOut() {
  const [wrong, setWrong] = useState("");
  const leave = () => {
    setWrong("");
    signOut().catch((error) => setWrong(`You are still signed in. ${explain(error)}`));
  };
  return (
    <>
      <button type="button" class="quiet" onClick={leave}>
        Sign out
      </button>
      {wrong && (
        <p class="wrong" role="alert">
          {wrong}
        </p>
      )}
    </>
  );
}
