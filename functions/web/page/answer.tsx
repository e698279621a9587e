// An answer of the API within a component: asked for, shown, asked for again.

import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { explain } from "./http";
import { get } from "./session";

export interface Answer<T> {
  data: T | undefined; // the latest that arrived, perhaps to an earlier question
  error: unknown; // why the latest question has no answer
  loading: boolean;
  again: () => void;
}

/** useAnswer asks for path, and again when it changes. A null path asks nothing. */
export function useAnswer<T>(path: string | null): Answer<T> {
  const [state, setState] = useState<{ data?: T; error?: unknown; loading: boolean }>({ loading: true });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (path === null) return;
    const left = new AbortController();
    setState((s) => ({ ...s, loading: true }));
    get<T>(path, left.signal).then(
      (data) => left.signal.aborted || setState({ data, loading: false }),
      (error) => left.signal.aborted || setState({ error, loading: false }),
    );
    return () => left.abort();
  }, [path, turn]);
  const again = useCallback(() => setTurn((n) => n + 1), []);
  return { data: state.data, error: state.error, loading: state.loading, again };
}

/** Failure says why something cannot be shown and offers to try again. */
export function Failure({ error, again }: { error: unknown; again: () => void }) {
  return (
    <div class="notice bad" role="alert">
      <p>{explain(error)}</p>
      <button type="button" class="quiet" onClick={again}>
        Try again
      </button>
    </div>
  );
}

/** Panel is a titled part of the page whose content follows an answer. */
export function Panel<T>(props: {
  title: string;
  note?: ComponentChildren;
  answer: Answer<T>;
  holds: "chart" | "calendar" | "list";
  children: (data: T) => ComponentChildren;
}) {
  const { title, note, answer } = props;
  const id = title.toLowerCase().replaceAll(" ", "-");
  return (
    <section class={"panel holds-" + props.holds} aria-labelledby={id} aria-busy={answer.loading}>
      <header>
        <h2 id={id}>{title}</h2>
        {note && <p class="note">{note}</p>}
      </header>
      <div class={answer.loading && answer.data !== undefined ? "content stale" : "content"}>
        {answer.error !== undefined ? (
          <Failure error={answer.error} again={answer.again} />
        ) : answer.data !== undefined ? (
          props.children(answer.data)
        ) : (
          <div class="waiting" />
        )}
      </div>
    </section>
  );
}
