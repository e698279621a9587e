// A list of the API that comes page by page.

import { useEffect, useState } from "preact/hooks";
import { Failure, useAnswer } from "./answer";
import { get } from "./session";

/** usePages asks for a list and, at the reader's wish, for its next pages; where one begins goes into parameter. */
export function usePages<P extends { next: string | null }, R>(question: string, rows: (page: P) => R[], parameter = "cursor") {
  const first = useAnswer<P>(question);
  const [more, setMore] = useState<{ rows: R[]; next: string | null; error?: unknown; loading?: boolean }>();
  useEffect(() => setMore(undefined), [first.data]);
  const next = more ? more.next : (first.data?.next ?? null);
  const load = async () => {
    if (next === null || more?.loading) return;
    const before = more?.rows ?? [];
    setMore({ rows: before, next, loading: true });
    try {
      const page = await get<P>(`${question}${question.includes("?") ? "&" : "?"}${parameter}=${encodeURIComponent(next)}`);
      setMore({ rows: [...before, ...rows(page)], next: page.next });
    } catch (error) {
      setMore({ rows: before, next, error });
    }
  };
  return { first, more: more?.rows ?? [], next, load, loading: more?.loading ?? false, error: more?.error };
}

/** More is what asks for the next page. */
export function More(props: { next: string | null; load: () => void; loading: boolean; error: unknown; what: string }) {
  if (props.error !== undefined) return <Failure error={props.error} again={props.load} />;
  if (props.next === null) return null;
  return (
    <button type="button" class="quiet more" onClick={props.load} aria-busy={props.loading}>
      More {props.what}
    </button>
  );
}
