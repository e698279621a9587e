// Forms: each sends what its fields hold, and keeps it there where that fails.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { explain } from "./http";

export type Fields = Record<string, string>;

export interface FormProps {
  button: string;
  act: (fields: Fields, form: HTMLFormElement) => Promise<unknown>;
  done?: string; // said once it is done
  kind?: "primary" | "quiet" | "danger"; // of the button
  class?: string;
  label?: string;
  children?: ComponentChildren;
}

/** Form is its children, a button, and what came of pressing it. */
export function Form(props: FormProps) {
  const [state, setState] = useState<{ wrong?: string; done?: boolean }>({});
  const [busy, setBusy] = useState(false);
  const working = useRef(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (working.current) return; // the button stays, so that it keeps the focus
    const form = event.currentTarget as HTMLFormElement;
    working.current = true;
    setBusy(true);
    setState({});
    try {
      await props.act(Object.fromEntries(new FormData(form)) as Fields, form);
      setState({ done: true });
    } catch (error) {
      setState({ wrong: explain(error) });
    } finally {
      working.current = false;
      setBusy(false);
    }
  };
  return (
    <form class={props.class ?? "form"} aria-label={props.label} onSubmit={submit} onInput={() => state.done && setState({})}>
      {props.children}
      <p class="wrong" role="alert">
        {state.wrong}
      </p>
      <div class="acts">
        <button type="submit" class={props.kind ?? "primary"} aria-disabled={busy} aria-busy={busy}>
          {props.button}
        </button>
        {props.done && (
          <span class="done" role="status">
            {state.done && props.done}
          </span>
        )}
      </div>
    </form>
  );
}

export interface FieldProps {
  label: string;
  name: string;
  id?: string;
  autocomplete?: string;
  type?: "text" | "email" | "password";
  hint?: ComponentChildren;
  value?: string; // to begin with
  least?: number; // characters
  most?: number;
  pattern?: string;
  title?: string; // of the pattern
  optional?: boolean;
  keep?: (value: string) => void;
}

/** Field is an input with its label. */
export function Field({ label, name, id = name, autocomplete = "off", type = "text", hint, value, least, most, pattern, title, optional, keep }: FieldProps) {
  return (
    <div class="field">
      <label for={id}>
        {label} {optional && <span class="optional">optional</span>}
      </label>
      <input
        id={id}
        name={name}
        type={type as "text"}
        autocomplete={autocomplete as "on"}
        aria-describedby={hint ? id + "-hint" : undefined}
        defaultValue={value}
        minLength={least}
        maxLength={most}
        pattern={pattern}
        title={title}
        required={!optional}
        dir={type === "text" ? "auto" : undefined}
        onInput={keep && ((e) => keep(e.currentTarget.value))}
      />
      {hint && <small id={id + "-hint"}>{hint}</small>}
    </div>
  );
}

/** NewPassword is the field for one, with what makes a good one. */
export function NewPassword({ label = "Password", name = "password" }: { label?: string; name?: string }) {
  return (
    <Field label={label} name={name} type="password" autocomplete="new-password" least={8} hint="A few words that belong together only to you make a good one." />
  );
}

/** Select is a choice of few with its label. */
export function Select(props: { label: string; name: string; id?: string; options: Record<string, string>; value?: string }) {
  const { label, name, id = name, options, value } = props;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} name={name}>
        {/* The attribute selected, to which a reset goes back; Preact would set the property. */}
        {Object.entries(options).map(([key, text]) => (
          <option key={key} value={key} ref={(option) => void option?.toggleAttribute("selected", key === value)}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

/** Dialog asks something that has to be answered or closed first. Its children are given what closes it. */
export function Dialog({ title, close, children }: { title: ComponentChildren; close: () => void; children: (shut: () => void) => ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  // By the element, which gives the focus back to what opened it.
  const shut = () => dialog.current?.close();
  return (
    <dialog ref={dialog} class="card" aria-labelledby="dialog-title" onClose={close}>
      <header>
        <h2 id="dialog-title">{title}</h2>
        <button type="button" class="quiet" aria-label="Close" onClick={shut}>
          ×
        </button>
      </header>
      {children(shut)}
    </dialog>
  );
}

/** Confirm asks whether somebody means it. */
export function Confirm(props: { title: ComponentChildren; button: string; act: () => Promise<unknown>; close: () => void; children: ComponentChildren }) {
  return (
    <Dialog title={props.title} close={props.close}>
      {(shut) => (
        <Form button={props.button} kind="danger" act={() => props.act().then(shut)}>
          <p>{props.children}</p>
        </Form>
      )}
    </Dialog>
  );
}

/** Once shows something that is shown this one time, to be copied. */
export function Once({ label, value, children }: { label: string; value: string; children: ComponentChildren }) {
  const field = useRef<HTMLInputElement>(null);
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    setCopied(false);
    field.current?.focus();
    field.current?.select();
  }, [value]);
  const copy = () =>
    navigator.clipboard.writeText(value).then(
      () => setCopied(true),
      () => field.current?.select(), // to be copied by hand
    );
  return (
    <div class="notice once">
      <label for="once">{label}</label>
      <div class="copy">
        <input id="once" ref={field} readOnly value={value} aria-describedby="once-hint" />
        <button type="button" class="quiet" onClick={copy}>
          <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
        </button>
      </div>
      <small id="once-hint">{children}</small>
    </div>
  );
}

/** useTitle names the page in the browser's tab. */
export function useTitle(title: string) {
  useEffect(() => {
    document.title = title === "" ? "DevOps Dashboard" : `${title} · DevOps Dashboard`;
  }, [title]);
}
