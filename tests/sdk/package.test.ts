/** The package as it is published: its size, its types, and that it runs where it says. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { expect } from "chai";
import { build } from "esbuild";
import { FakeDevmesh, ownerSecret } from "./fake/fake-devmesh.ts";
import { type TempFolder, tempFolder } from "./temp-folder.ts";

const root = join(import.meta.dirname, "..", "..");
const maxBrowserBytes = 40_000;

const script = `
import { createDevmesh, JobStatus } from "@devmesh/sdk";
import { createDevmesh as createNodeDevmesh } from "@devmesh/sdk/node";
import { JobService } from "@devmesh/sdk/raw";
const [baseUrl, token] = process.argv.slice(2);
for (const create of [createDevmesh, createNodeDevmesh]) {
  const devmesh = create({ baseUrl, token });
  const { jobId } = await devmesh.jobs.create({ command: ["echo", "hello"] });
  for await (const { kind } of devmesh.jobs.watch(jobId)) {
    if (kind.case === "log") process.stdout.write(kind.value.data);
    if (kind.case === "result" && kind.value.outcome === JobStatus.SUCCEEDED) console.log("done");
  }
}
console.log(JobService.typeName);
`;

const consumer = `
import { createDevmesh, DevmeshApiError, type Job, type Reason } from "@devmesh/sdk";
import { packWorkspace, type NodeDevmesh } from "@devmesh/sdk/node";
import { type CreateJobRequest, JobService } from "@devmesh/sdk/raw";
const devmesh = createDevmesh({ baseUrl: "https://devmesh.example", token: "t" });
export async function first(): Promise<Job | undefined> {
  for await (const job of devmesh.jobs.list({ statuses: ["running"] })) return job;
  return undefined;
}
export const reason = (error: unknown): Reason | undefined =>
  error instanceof DevmeshApiError ? error.reason : undefined;
// @ts-expect-error: a job is either a command or an agent's task.
export const wrong = () => devmesh.jobs.create({ command: ["x"], agent: { task: "y" } });
// @ts-expect-error: there is no such status.
export const odd = () => devmesh.jobs.list({ statuses: ["odd"] });
export const name: string = JobService.typeName;
export type { CreateJobRequest, NodeDevmesh };
export const pack = packWorkspace;
`;

describe("the SDK's browser bundle", () => {
  const bundle = (platform: "browser" | "neutral") =>
    build({
      stdin: {
        contents: 'import { createDevmesh } from "@devmesh/sdk"; globalThis.d = createDevmesh;',
        resolveDir: join(root, "tests"),
      },
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2022",
      platform,
      ...(platform === "neutral" && { mainFields: ["module", "main"] }),
      // Chunks that are loaded when they are needed first do not count, those loaded at once do.
      splitting: true,
      outdir: join(root, "tests", "bundle"),
      metafile: true,
      write: false,
    });

  it(`is at most ${maxBrowserBytes} bytes gzipped, and has no Node in it`, async function () {
    this.timeout(60_000);
    const { outputFiles, warnings, metafile } = await bundle("browser");
    expect(warnings).to.have.length(0);
    const atOnce = new Set<string>();
    const visit = (path: string) => {
      if (atOnce.has(path)) return;
      atOnce.add(path);
      for (const { path: next, kind } of metafile.outputs[path]?.imports ?? []) {
        if (kind === "import-statement") visit(next);
      }
    };
    for (const [path, { entryPoint }] of Object.entries(metafile.outputs)) {
      if (entryPoint === "<stdin>") visit(path);
    }
    expect(atOnce.size).to.be.at.least(1);
    let bytes = 0;
    for (const { path, contents, text } of outputFiles) {
      if (atOnce.has(relative(process.cwd(), path))) {
        bytes += gzipSync(contents, { level: 9 }).length;
      }
      expect(text).to.not.match(/["']node:|\brequire\(/);
    }
    expect(bytes).to.be.within(10_000, maxBrowserBytes);
  });
});

describe("the SDK's package", function () {
  this.timeout(600_000);
  let folder: TempFolder;

  before(() => {
    folder = tempFolder({
      "package.json": '{ "type": "module", "private": true }',
      "run.mjs": script,
      "consumer.ts": consumer,
    });
    run("sdk/ts/build.ts");
    const dist = join(root, "sdk/ts/dist");
    execFileSync("npm", ["pack", dist, "--pack-destination", folder.path], { stdio: "pipe" });
    const tarball = readdirSync(folder.path).find((name) => name.endsWith(".tgz")) ?? "";
    const install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", `./${tarball}`];
    execFileSync("npm", install, { cwd: folder.path, stdio: "pipe" });
  });
  after(() => folder[Symbol.dispose]());

  const run = (file: string) =>
    execFileSync(process.execPath, [join(root, file)], { stdio: "pipe" });

  it("holds no source but declarations, and needs no install script", () => {
    const installed = join(folder.path, "node_modules/@devmesh/sdk");
    const files = readdirSync(installed, { recursive: true }).map(String);
    expect(files).to.include.members(["index.js", "node.js", "raw.js", "types/index.d.ts"]);
    const sources = files.filter((file) => /(?<!\.d)\.ts$/.test(file));
    expect(sources).to.deep.equal([]);
    const lock = readFileSync(join(folder.path, "package-lock.json"), "utf8");
    expect(lock).to.not.include("hasInstallScript");
  });

  const nodes: Readonly<Record<string, string>> = {
    "the tests' Node": process.execPath,
    "the system's Node": "/usr/bin/node",
  };
  for (const [name, node] of Object.entries(nodes)) {
    it(`creates and watches a job under ${name}`, async function () {
      if (!existsSync(node)) this.skip();
      const fake = new FakeDevmesh();
      const server = await fake.listen();
      const child = spawn(node, ["run.mjs", server.url, ownerSecret], { cwd: folder.path });
      let out = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Buffer) => {
          out += chunk.toString();
        });
      }
      const [code] = (await once(child, "close")) as [number];
      await server.close();
      expect(out).to.equal("hello\ndone\nhello\ndone\ndevmesh.api.v1.JobService\n");
      expect(code).to.equal(0);
    });
  }

  for (const resolution of ["nodenext", "bundler"] as const) {
    it(`type-checks in a consumer with ${resolution}`, () => {
      const module = resolution === "nodenext" ? "nodenext" : "esnext";
      const tsc = join(root, "node_modules/.bin/tsc");
      const types = ["--typeRoots", join(root, "node_modules/@types"), "--types", "node"];
      const options = ["--strict", "--noEmit", "--target", "es2022", "--skipLibCheck", ...types];
      const kind = ["--module", module, "--moduleResolution", resolution];
      execFileSync(tsc, [...options, ...kind, "consumer.ts"], { cwd: folder.path, stdio: "pipe" });
    });
  }
});
