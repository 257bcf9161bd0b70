/** Docs are true: every setting is in the table, every link leads somewhere. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect } from "chai";

const root = join(import.meta.dirname, "..", "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

describe("docs", () => {
  it("name every setting that a service reads, and no other", () => {
    const sources = globSync("services/{*,vm/join}/{config,options,join-config}.ts", { cwd: root })
      .concat(globSync("services/mesh/config/*.ts", { cwd: root }))
      .concat(globSync("services/mesh/telemetry/*.ts", { cwd: root }));
    const code = sources.map(read).join("\n");
    const documented = new Set(
      [...read("docs/configuration.md").matchAll(/^\| (`[A-Z_`, ]+`)/gm)].flatMap((m) =>
        [...(m[1] ?? "").matchAll(/[A-Z][A-Z_]+/g)].map((name) => name[0]),
      ),
    );
    const call =
      /\.(?:string|optional|secret|integer|port|boolean|oneOf|url|list)(?:<[^(]*>)?\(\s*"([A-Z_]+)"|milliseconds\(reader, "([A-Z_]+)"/g;
    const used = new Set([...code.matchAll(call)].map((m) => m[1] ?? m[2] ?? ""));
    expect([...used].filter((name) => !documented.has(name))).to.deep.equal([]);
    const unknown = [...documented].filter((name) => !used.has(name) && !code.includes(name));
    // These are read by a prefix that the code puts together.
    const composed = /^(MCP|INFERENCE|VM|API)_(HOST|PORT)$/;
    expect(unknown.filter((name) => !composed.test(name))).to.deep.equal([]);
  });

  it("have no link to a file that is not there", () => {
    const pages = globSync(["*.md", "docs/**/*.md", "sdk/*/README.md", "examples/**/*.md"], {
      cwd: root,
    });
    const broken = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)]
        .map((m) => m[1] ?? "")
        .filter((link) => !existsSync(join(root, dirname(page), link)))
        .map((link) => `${page}: ${link}`),
    );
    expect(broken).to.deep.equal([]);
  });

  it("name only files and folders of the repository that exist", () => {
    const named =
      /`((?:services|scripts|proto|docs|tests|deploy|web|cli|sdk|agents|examples|bench)\/[\w./-]+)`/g;
    const pages = globSync(["*.md", "docs/**/*.md"], { cwd: root });
    // Built folders appear with the first build.
    const built = /\/dist(\/|$)/;
    const missing = pages.flatMap((page) =>
      [...read(page).matchAll(named)]
        .map((m) => m[1] ?? "")
        .filter((path) => !built.test(path) && !existsSync(join(root, path)))
        .map((path) => `${page}: ${path}`),
    );
    expect(missing).to.deep.equal([]);
  });
});
