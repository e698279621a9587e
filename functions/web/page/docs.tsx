// The API documentation: the OpenAPI document, read from this origin and shown
// whole. It loads nothing else.

import { render, type ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { explain, ask } from "./http";
import { Mark } from "./mark";
import { curl, example, operationsOf, outline, type Document, type Operation, type Parameter, type Row } from "./openapi";
import "./base.css";
import "./docs.css";

function Docs() {
  const [document_, setDocument] = useState<Document>();
  const [wrong, setWrong] = useState("");
  const [wanted, setWanted] = useState("");
  useEffect(() => {
    ask<Document>("/api/openapi.json", { cache: "default" }).then(setDocument, (error) => setWrong(explain(error)));
  }, []);
  // The address may name an operation that exists only now.
  useEffect(() => {
    if (document_) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }, [document_]);
  const groups = useMemo(() => (document_ ? operationsOf(document_, wanted) : []), [document_, wanted]);

  if (wrong) {
    return (
      <p class="notice bad" role="alert">
        {wrong}
      </p>
    );
  }
  if (!document_) return <main aria-busy="true" />;
  return (
    <>
      <a class="skip" href="#reference">
        Skip to the reference
      </a>
      <nav aria-label="Operations">
        <a class="home" href="/" aria-label="Dashboard">
          <Mark />
        </a>
        <label class="sr" for="wanted">
          Find an operation
        </label>
        <input id="wanted" type="search" placeholder="Find an operation" value={wanted} onInput={(e) => setWanted(e.currentTarget.value)} />
        {groups.map(({ tag, operations }) => (
          <section key={tag}>
            <h2>{tag}</h2>
            <ul>
              {operations.map((o) => (
                <li key={o.id}>
                  <a href={"#" + o.id}>
                    <Method of={o} />
                    {o.path.replace("/api/", "")}
                  </a>
                </li>
              ))}
            </ul>
          </section>
        ))}
        {groups.length === 0 && <p class="soft">No operation is called that.</p>}
      </nav>
      <main id="reference" tabIndex={-1}>
        <header>
          <h1>{document_.info.title} API</h1>
          <p>{document_.info.description}</p>
          <p class="soft">
            Times are RFC 3339 in UTC, days are local to the team's time zone, durations are whole seconds. Whatever goes wrong is answered with a{" "}
            <a href="https://www.rfc-editor.org/rfc/rfc9457">problem document</a> that says what to change. <a href="/api/openapi.json">The OpenAPI document</a>
          </p>
        </header>
        {groups.map(({ tag, operations }) => (
          <section key={tag} class="group">
            {operations.map((o) => (
              <OperationView key={o.id} document={document_} operation={o} />
            ))}
          </section>
        ))}
      </main>
    </>
  );
}

function Method({ of }: { of: Operation }) {
  return <b class={"method " + of.method.toLowerCase()}>{of.method}</b>;
}

const access: Record<string, string> = {
  access_token: "Access token",
  session_cookie: "Session cookie",
  scheduler: "Scheduler only",
};

function OperationView({ document, operation: o }: { document: Document; operation: Operation }) {
  const security = Object.keys(o.security?.[0] ?? {})[0];
  const body = o.requestBody?.content["application/json"]?.schema;
  return (
    <article id={o.id} class="panel">
      <h2>
        <a href={"#" + o.id}>{o.summary ?? o.id}</a>
        <span class="badge" title={security && document.components.securitySchemes?.[security]?.description}>
          {security ? (access[security] ?? security) : "Public"}
        </span>
      </h2>
      <p class="route">
        <Method of={o} /> <code>{o.path}</code>
      </p>
      {o.description && <p class="text">{o.description}</p>}
      {o.parameters && o.parameters.length > 0 && <Parameters document={document} parameters={o.parameters} />}
      {body && (
        <Part title="Request body">
          <Shape rows={outline(document, body)} />
          <Code text={JSON.stringify(example(document, body), null, 2)} />
        </Part>
      )}
      <Part title="Answers">
        {Object.entries(o.responses).map(([status, response]) => {
          const content = Object.entries(response.content ?? {})[0];
          const schema = content?.[1].schema;
          return (
            <details key={status} open={status.startsWith("2")}>
              <summary>
                <b class={"status s" + status.charAt(0)}>{status}</b> {response.description}
                {content && <span class="soft"> {content[0]}</span>}
              </summary>
              <Shape rows={headers(response)} />
              {schema && <Shape rows={outline(document, schema)} />}
              {schema && status.startsWith("2") && <Code text={JSON.stringify(example(document, schema), null, 2)} />}
            </details>
          );
        })}
      </Part>
      <Part title="Try it in a terminal">
        <Code text={curl(document, o, location.origin)} copy />
      </Part>
    </article>
  );
}

/** headers lists the headers that are worth a word. */
function headers(response: Operation["responses"][string]): Row[] {
  return Object.entries(response.headers ?? {}).flatMap(([name, header]) =>
    header.description ? [{ name, depth: 0, type: "header", required: false, doc: header.description }] : [],
  );
}

function Part({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="part">
      <h3>{title}</h3>
      {children}
    </section>
  );
}

function Parameters({ document, parameters }: { document: Document; parameters: Parameter[] }) {
  const rows = parameters.map((p): Row => {
    const [row] = outline(document, { type: "object", properties: { [p.name]: p.schema ?? {} }, required: p.required ? [p.name] : [] });
    return { ...row!, type: `${row!.type}, in ${p.in}`, doc: [p.description, p.schema?.description === p.description ? "" : row!.doc].filter(Boolean).join(" ") };
  });
  return (
    <Part title="Parameters">
      <Shape rows={rows} />
    </Part>
  );
}

function Shape({ rows }: { rows: Row[] }) {
  if (rows.length === 0) return null;
  return (
    <div class="scroll">
      <table>
        <thead class="sr">
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Type</th>
            <th scope="col">Meaning</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i}>
              <th scope="row" style={{ paddingLeft: `${row.depth * 16}px` }}>
                <code>{row.name}</code>
                {row.required && <small title="required">*</small>}
              </th>
              <td class="type">{row.type}</td>
              <td>{row.doc}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Code({ text, copy = false }: { text: string; copy?: boolean }) {
  const [copied, setCopied] = useState(false);
  const take = () =>
    navigator.clipboard.writeText(text).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 2000);
    });
  return (
    <div class="code">
      <pre tabIndex={0}>{text}</pre>
      {copy && (
        <button type="button" class="quiet" onClick={take}>
          <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
        </button>
      )}
    </div>
  );
}

render(<Docs />, document.getElementById("app")!);
