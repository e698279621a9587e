import { useState } from "preact/hooks";
import { explain } from "./http";
import { Mark } from "./mark";
import { signIn } from "./session";

/** SignIn asks who is there, and makes an account for those who have none. */
export function SignIn() {
  const [creating, setCreating] = useState(false);
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState("");

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.currentTarget as HTMLFormElement));
    setBusy(true);
    setWrong("");
    try {
      if (creating) {
        const time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
        await signIn("/api/auth/register", { ...fields, time_zone });
      } else {
        await signIn("/api/auth/login", fields);
      }
    } catch (error) {
      setWrong(explain(error));
      setBusy(false);
    }
  };

  return (
    <main class="alone">
      <form class="card signin" onSubmit={submit}>
        <Mark />
        <h1>{creating ? "Create an account" : "Sign in"}</h1>
        {creating && (
          <>
            <Field label="Your name" name="name" autocomplete="name" />
            <Field label="Team" name="team" autocomplete="organization" hint="You can invite others to it later." />
          </>
        )}
        <Field label="E-mail" name="email" type="email" autocomplete="username" />
        <Field
          label="Password"
          name="password"
          type="password"
          autocomplete={creating ? "new-password" : "current-password"}
          {...(creating ? { hint: "A few words that belong together only to you make a good one." } : {})}
        />
        <p class="wrong" role="alert">
          {wrong}
        </p>
        <button type="submit" class="primary" disabled={busy} aria-busy={busy}>
          {creating ? "Create account" : "Sign in"}
        </button>
        <p class="other">
          {creating ? "You have an account? " : "No account yet? "}
          <button
            type="button"
            class="link"
            onClick={() => {
              setCreating(!creating);
              setWrong("");
            }}
          >
            {creating ? "Sign in" : "Create an account"}
          </button>
        </p>
      </form>
    </main>
  );
}

interface FieldProps {
  label: string;
  name: string;
  autocomplete: string;
  type?: "text" | "email" | "password";
  hint?: string;
}

function Field({ label, name, autocomplete, type = "text", hint }: FieldProps) {
  return (
    <div class="field">
      <label for={name}>{label}</label>
      <input
        id={name}
        name={name}
        type={type as "text"}
        autocomplete={autocomplete as "on"}
        aria-describedby={hint ? name + "-hint" : undefined}
        required
      />
      {hint && <small id={name + "-hint"}>{hint}</small>}
    </div>
  );
}
