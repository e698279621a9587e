// The dashboard's first code: finds out whether somebody is signed in and shows
// the sign-in or the dashboard.

import { render } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { Dashboard } from "./dashboard";
import { explain } from "./http";
import { resume, watch } from "./session";
import { SignIn } from "./signin";
import "uplot/style.css";
import "./base.css";
import "./app.css";

const retry = 10_000; // ms between tries while nobody can be asked

type Stage = "starting" | "in" | "out" | { away: string };

function App() {
  const [stage, setStage] = useState<Stage>("starting");
  const start = useCallback(() => {
    resume().then(
      (signedIn) => setStage(signedIn ? "in" : "out"),
      (error) => setStage({ away: explain(error) }),
    );
  }, []);
  useEffect(() => {
    watch((signedIn) => setStage(signedIn ? "in" : "out"));
    start();
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
  if (stage === "in") return <Dashboard />;
  if (stage === "out") return <SignIn />;
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
