// The dashboard's first code: finds out what has led here and whether somebody is
// signed in, and shows what that calls for.

import { render } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { print } from "./choice";
import { take, type Arrival } from "./fragment";
import { FromGitHubPage, saysGitHub } from "./github";
import { SignedIn } from "./home";
import { explain } from "./http";
import { LinkPage } from "./link";
import { begun, resume, watch } from "./session";
import { SignIn } from "./signin";
import "uplot/style.css";
import "./base.css";
import "./app.css";

const retry = 10_000; // ms between tries while nobody can be asked

// Before anything else: a secret does not stay in the address.
const first = take();
if (first?.by === "github" && first.became === "signed-in") begun();

type Stage = "starting" | "in" | "out" | { away: string };

function App() {
  const [stage, setStage] = useState<Stage>("starting");
  const [arrival, setArrival] = useState<Arrival | null>(first);
  const start = useCallback(() => {
    resume().then(
      (signedIn) => setStage(signedIn ? "in" : "out"),
      (error) => setStage({ away: explain(error) }),
    );
  }, []);
  useEffect(() => {
    watch((signedIn) => setStage(signedIn ? "in" : "out"));
    start();
    // A link that is pasted into the address of a page that is open loads nothing.
    const look = () => setArrival((before) => take() ?? before);
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  useEffect(() => {
    if (typeof stage === "string") return;
    const timer = setTimeout(start, retry);
    addEventListener("online", start);
    return () => {
      clearTimeout(timer);
      removeEventListener("online", start);
    };
  }, [stage]);

  if (stage === "starting") return <main class="blank" aria-busy="true" />;
  if (typeof stage === "string") {
    const done = (team?: string) => {
      if (team) history.replaceState(null, "", location.pathname + print({ team }));
      setArrival(null);
    };
    const signedIn = stage === "in";
    if (arrival?.by === "link") return <LinkPage key={arrival.secret} secret={arrival.secret} signedIn={signedIn} done={done} />;
    if (arrival?.became === "link" || arrival?.became === "register") return <FromGitHubPage from={arrival} signedIn={signedIn} done={done} />;
    const notice = arrival ? saysGitHub[arrival.became] : undefined;
    return signedIn ? <SignedIn notice={notice} heard={done} /> : <SignIn notice={notice} />;
  }
  return (
    <main class="alone">
      <div class="notice bad" role="alert">
        <h1>One moment</h1>
        <p>{stage.away} You are still signed in; this page goes on trying.</p>
        <button type="button" onClick={start}>
          Try now
        </button>
      </div>
    </main>
  );
}

render(<App />, document.getElementById("app")!);
