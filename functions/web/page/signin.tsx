import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Profile, RegistrationRule, ShownLink } from "./answers";
import { Field, Form, NewPassword, useTitle, type Fields } from "./form";
import { ask, withJSON } from "./http";
import { Mark } from "./mark";
import { signIn } from "./session";

/** useRule returns who may open an account here: undefined until that is known, null where it cannot be. */
export function useRule(): RegistrationRule | null | undefined {
  const [rule, setRule] = useState<RegistrationRule | null>();
  useEffect(() => {
    // Who has an account signs in meanwhile, and where nobody answers.
    ask<RegistrationRule>("/api/auth/registration").then(setRule, () => setRule(null));
  }, []);
  return rule;
}

/** gitHubStart is the address that leads to GitHub and back to this page. */
export function gitHubStart(): string {
  const back = location.pathname + location.search;
  return "/api/auth/github/start?return=" + encodeURIComponent(back.length > 512 ? "/" : back);
}

export const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Alone is a page with one thing to do. */
export function Alone({ title, children }: { title: ComponentChildren; children: ComponentChildren }) {
  return (
    <main class="alone">
      <section class="card signin">
        <Mark />
        <h1>{title}</h1>
        {children}
      </section>
    </main>
  );
}

/** WithLink is a link with which somebody may open an account. */
export interface WithLink {
  secret: string;
  shown: ShownLink;
  done: (user: Profile) => void;
}

type Step = "sign-in" | "create" | "forgot";

const titles: Record<Step, string> = { "sign-in": "Sign in", create: "Create an account", forgot: "Forgot your password?" };

/** SignIn asks who is there, and makes an account for those who may have one. */
export function SignIn({ notice, link }: { notice?: ComponentChildren; link?: WithLink }) {
  const rule = useRule();
  const [step, setStep] = useState<Step>();
  const [email, setEmail] = useState("");
  const mayCreate = link ? link.shown.kind === "owner" || (!!rule && rule.mode !== "closed") : rule?.mode === "open";
  const now = step ?? (link && mayCreate ? "create" : "sign-in");
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (step) heading.current?.focus();
  }, [step]);
  useTitle(titles[now]);
  if (link && rule === undefined) return <main class="blank" aria-busy="true" />;

  const to = (next: Step) => (
    <button type="button" class="link" onClick={() => setStep(next)}>
      {titles[next]}
    </button>
  );
  const address = <Field label="E-mail" name="email" type="email" autocomplete="username" value={email} keep={setEmail} />;
  return (
    <main class="alone">
      <section class="card signin">
        <Mark />
        <h1 tabIndex={-1} ref={heading}>
          {titles[now]}
        </h1>
        {notice && now !== "forgot" && <p class="notice">{notice}</p>}
        {now === "sign-in" && (
          <Form key={now} class="fields" button="Sign in" act={(fields) => signIn("/api/auth/login", fields)}>
            {address}
            <Field label="Password" name="password" type="password" autocomplete="current-password" />
          </Form>
        )}
        {now === "create" && (
          <Form key={now} class="fields" button="Create account" act={(fields) => create(fields, link)}>
            <Field label="Your name" name="name" autocomplete="name" most={100} />
            {link?.shown.kind !== "invitation" && <Field label="Team" name="team" autocomplete="organization" most={100} hint="You can invite others to it later." />}
            {address}
            <NewPassword />
          </Form>
        )}
        {now === "forgot" && rule?.mail === true && (
          <Form key={now} class="fields" button="Mail me a link" done="If there is an account with this address, a link is on its way. It is good for an hour." act={forgot}>
            <p>The link lets you choose a new password.</p>
            {address}
          </Form>
        )}
        {now === "forgot" && rule?.mail === false && (
          <p>This installation sends no mail. An owner of your team can make a link that sets a new password, and so can whoever operates it.</p>
        )}
        {now === "forgot" && rule === null && <p>An owner of your team, or whoever operates this installation, can make a link that sets a new password.</p>}
        {now !== "forgot" && rule?.github && (
          <>
            <a class="quiet" href={gitHubStart()}>
              {link ? "Go on with GitHub" : "Sign in with GitHub"}
            </a>
            {link && <small>Keep the link that led you here: you are asked for it once you are back.</small>}
          </>
        )}
        <p class="other ends">
          {now === "create" && <span>You have an account? {to("sign-in")}</span>}
          {now === "forgot" && <span>You know it after all? {to("sign-in")}</span>}
          {now === "sign-in" && to("forgot")}
          {now === "sign-in" && mayCreate && <span>No account yet? {to("create")}</span>}
          {now === "sign-in" && !link && rule?.mode === "invite" && <span>No account yet? An owner of your team can invite you.</span>}
        </p>
      </section>
    </main>
  );
}

function create(fields: Fields, link?: WithLink): Promise<void> {
  const own = link ? { link: link.secret } : {};
  return signIn("/api/auth/register", { ...fields, ...own, time_zone: ownZone() }, link?.done);
}

/** forgot asks for a link to set a password; the answer is the same for every address. */
export function forgot({ email }: Fields): Promise<void> {
  return ask("/api/auth/password/forgot", withJSON("POST", { email }));
}
