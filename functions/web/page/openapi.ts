// What an OpenAPI 3.1 document says, put in the order in which people read it.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  enum?: unknown[];
  default?: unknown;
  examples?: unknown[];
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  required?: string[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
}

export interface Parameter {
  name: string;
  in: string;
  description?: string;
  required?: boolean;
  schema?: Schema;
  example?: unknown;
}

interface Content {
  content?: Record<string, { schema?: Schema }>;
}

export interface Operation {
  id: string; // operationId
  method: string;
  path: string;
  tags?: string[];
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: Required<Content>;
  responses: Record<string, Content & { description?: string; headers?: Record<string, { description?: string }> }>;
  security?: Record<string, string[]>[];
}

export interface Document {
  info: { title: string; description?: string };
  paths?: Record<string, Record<string, Operation & { operationId: string }>>;
  tags?: { name: string }[];
  components: { schemas?: Record<string, Schema>; securitySchemes?: Record<string, { description?: string }> };
}

const methods = ["get", "post", "put", "patch", "delete"];

/** operationsOf lists the operations by tag; wanted is a part of what they are called. */
export function operationsOf(document: Document, wanted = ""): { tag: string; operations: Operation[] }[] {
  const groups = new Map<string, Operation[]>();
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const method of methods) {
      const found = item[method];
      if (!found) continue;
      const operation = { ...found, id: found.operationId, method: method.toUpperCase(), path };
      const words = `${operation.method} ${path} ${operation.summary} ${operation.id}`.toLowerCase();
      if (!words.includes(wanted.trim().toLowerCase())) continue;
      const tag = operation.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), operation]);
    }
  }
  return [...groups].map(([tag, operations]) => ({ tag, operations }));
}

function resolve(document: Document, schema: Schema): Schema {
  if (!schema.$ref) return schema;
  return { ...document.components.schemas?.[schema.$ref.split("/").pop()!], ...schema };
}

const deepest = 6; // levels shown of a schema, which may hold itself

/** Row is one property of a schema in a list that keeps its depth. */
export interface Row {
  name: string;
  depth: number;
  type: string;
  required: boolean;
  doc: string;
}

/** properties are those that a schema names, and one that stands for those it leaves open. */
function properties(schema: Schema): Record<string, Schema> {
  const open = schema.additionalProperties;
  return { ...schema.properties, ...(typeof open === "object" ? { "(any name)": open } : {}) };
}

/** outline lists the properties of a schema, with those of what it holds. */
export function outline(document: Document, schema: Schema, depth = 0): Row[] {
  const whole = resolve(document, schema);
  if (depth > deepest) return [];
  if (whole.items) return outline(document, whole.items, depth);
  return Object.entries(properties(whole)).flatMap(([name, property]) => {
    const inner = resolve(document, property);
    const row = { name, depth, type: typeName(document, inner), required: whole.required?.includes(name) ?? false, doc: meaning(inner) };
    return [row, ...outline(document, inner, depth + 1)];
  });
}

function typeName(document: Document, schema: Schema): string {
  const types = [schema.type ?? "any"].flat();
  const nullable = types.includes("null") ? " or null" : "";
  const name = types.filter((t) => t !== "null").join(" or ");
  if (name === "array" && schema.items) return `list of ${typeName(document, resolve(document, schema.items))}${nullable}`;
  return (schema.format ? `${name} (${schema.format})` : name) + nullable;
}

function meaning(schema: Schema): string {
  const parts = [];
  if (schema.description) parts.push(schema.description);
  if (schema.enum) parts.push(`One of ${schema.enum.join(", ")}.`);
  if (schema.default !== undefined) parts.push(`By default ${JSON.stringify(schema.default)}.`);
  if (schema.minimum !== undefined && schema.maximum !== undefined) parts.push(`From ${schema.minimum} to ${schema.maximum}.`);
  if (schema.maxLength !== undefined) parts.push(`At most ${schema.maxLength} characters${schema.minLength ? `, at least ${schema.minLength}` : ""}.`);
  return parts.join(" ");
}

const samples: Record<string, unknown> = {
  "date-time": "2026-11-22T09:30:00Z",
  date: "2026-11-22",
  uuid: "6f1e2a0c-5b7d-4c39-9e18-2d4a7f0b3c55",
  email: "ada@example.org",
};

/** example makes a value that fits a schema, of the schema's own examples where it has some. */
export function example(document: Document, schema: Schema, depth = 0): unknown {
  const whole = resolve(document, schema);
  if (whole.examples?.length) return whole.examples[0];
  if (whole.default !== undefined) return whole.default;
  if (whole.enum) return whole.enum[0];
  const type = [whole.type].flat().find((t) => t !== "null");
  if (type === "array") return depth > deepest || !whole.items ? [] : [example(document, whole.items, depth + 1)];
  if (type === "object" || whole.properties) {
    if (depth > deepest) return {};
    return Object.fromEntries(Object.entries(properties(whole)).map(([name, property]) => [name, example(document, property, depth + 1)]));
  }
  if (type === "integer" || type === "number") return Math.max(whole.minimum ?? 0, 1);
  if (type === "boolean") return false;
  return samples[whole.format ?? ""] ?? "text";
}

/** curl writes a command that calls an operation. */
export function curl(document: Document, o: Operation, origin: string): string {
  const value = (p: Parameter) => String(p.example ?? example(document, p.schema ?? {}));
  const inPath = (o.parameters ?? []).filter((p) => p.in === "path");
  const inQuery = (o.parameters ?? []).filter((p) => p.in === "query" && p.required);
  const path = inPath.reduce((path, p) => path.replace(`{${p.name}}`, encodeURIComponent(value(p))), o.path);
  const query = new URLSearchParams(inQuery.map((p) => [p.name, value(p)])).toString();
  const parts = [`curl ${quoted(origin + path + (query && "?" + query))}`];
  if (o.method !== "GET") parts[0] = parts[0]!.replace("curl", `curl -X ${o.method}`);
  const security = Object.keys(o.security?.[0] ?? {})[0];
  if (security === "access_token" || security === "scheduler") parts.push(`-H "Authorization: Bearer $TOKEN"`);
  if (security === "session_cookie") parts.push("-b cookies.txt -c cookies.txt");
  const body = o.requestBody?.content["application/json"]?.schema;
  if (body) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(example(document, body)))}`);
  return parts.join(" \\\n  ");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
