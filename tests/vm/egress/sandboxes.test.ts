/**
 * A job's network policy in containers and guests, by real clients: what it allows is reached by
 * the proxy, the rest is refused and told. Process sandboxes: `tests/security/egress-sandbox.test.ts`.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JobStatus } from "@devmesh/gen/devmesh/api/v1/job_status_pb";
import { expect } from "chai";
import { ensureGuest } from "../../../deploy/guest/ensure-guest.ts";
import { ensureBaseImage, startDocker } from "../../../scripts/parts/docker.ts";
import { DockerDriver } from "../../../services/vm/drivers/docker/docker-driver.ts";
import type { SandboxDriver } from "../../../services/vm/drivers/driver.ts";
import { QemuDriver } from "../../../services/vm/drivers/qemu/qemu-driver.ts";
import { log, need } from "../../parts/need.ts";
import { Bed } from "../bed.ts";
import { EgressBed, type TestHost } from "./bed.ts";

/** What a repository of the old kind answers, enough for `git ls-remote`. */
const refs = `${"5".repeat(40)}\trefs/heads/main\n`;

/** Each line: what it tried, and how it went. Its client knows nothing of devmesh. */
const program = String.raw`
tried() { echo "$1: $(cat)"; }
list() { GIT_TERMINAL_PROMPT=0 git ls-remote "$1" 2>&1 | tail -1; }
list "https://api.example:$PORT/ok/repo" | tried allowed
list "https://api.example:$PORT/no/repo" | tried path
list "https://evil.example/ok/repo" | tried host
list "https://169.254.169.254/ok/repo" | tried address
env -u https_proxy -u HTTPS_PROXY -u http_proxy -u HTTP_PROXY -u all_proxy -u ALL_PROXY git ls-remote "https://127.0.0.2:$PORT/ok/direct" >/dev/null 2>&1; echo "direct: $?"
`;

interface Made {
  readonly driver: SandboxDriver;
  readonly stop: () => Promise<void>;
}

/** How each driver is had; what this host lacks skips with its reason. */
const kinds: Readonly<Record<string, (test: Mocha.Context, stateDir: string) => Promise<Made>>> = {
  docker: (test, stateDir) => container(test, stateDir),
  gvisor: (test, stateDir) => container(test, stateDir, "runsc"),
  async qemu(test, stateDir) {
    const guest = need(test, await ensureGuest({ log }));
    return { driver: new QemuDriver({ stateDir, ...guest }), stop: async () => {} };
  },
};

async function container(test: Mocha.Context, stateDir: string, runtime?: string): Promise<Made> {
  const engine = need(test, await startDocker({ log }));
  const { socketPath, stop } = engine;
  const found = await ensureBaseImage(socketPath, { log });
  if (!found.ok) await stop();
  const { image } = need(test, found);
  const named = runtime === undefined ? {} : { runtime };
  return { driver: new DockerDriver({ stateDir, socketPath, image, ...named }), stop };
}

for (const [kind, make] of Object.entries(kinds)) {
  describe(`a network policy in a ${kind} sandbox`, function () {
    this.timeout(600_000);
    const cleanup = new AsyncDisposableStack();
    let bed: Bed;
    let hosts: EgressBed;
    let host: TestHost;

    before(async function () {
      const stateDir = await mkdtemp(join(tmpdir(), "dm-policy-"));
      cleanup.defer(() => rm(stateDir, { recursive: true, force: true }));
      const { driver, stop } = await make(this, stateDir);
      cleanup.defer(stop);
      cleanup.defer(() => driver.close?.());
      const { available, reason, remedy } = await driver.probe();
      if (!available) {
        log(`skipped: ${reason} (${remedy})`);
        this.skip();
      }
      bed = await Bed.open();
      cleanup.defer(() => bed.close());
      hosts = await EgressBed.open();
      cleanup.defer(() => hosts.close());
      host = await hosts.tlsHost("api.example");
      host.onRequest = (_req, res) => res.end(refs);
      const caFile = join(hosts.folder, "ca.pem");
      await writeFile(caFile, hosts.ca);
      bed.startReal(driver, 1_000, {
        ...{ allowPrivate: ["127.0.0.0/8"], caFile },
        resolve: async (name) => hosts.names.get(name) ?? [],
      });
    });
    after(() => cleanup.disposeAsync());

    it("opens what it names, and tells in events and audit of all else", async () => {
      const id = await bed.submit({
        work: {
          case: "command",
          value: { argv: ["sh", "-c", program], env: { PORT: String(host.port) } },
        },
        network: { allow: [{ host: "api.example", port: host.port, paths: ["/ok/"] }] },
        limits: { memoryMib: 192, diskMib: 64 },
      });
      const { status } = await bed.ended(id);
      const told = await bed.log(id);
      expect(status, told).to.equal(JobStatus.SUCCEEDED);
      expect(told.includes(`allowed: ${refs}`), told).to.equal(true);
      for (const what of ["path", "host", "address"]) {
        expect(new RegExp(`^${what}: fatal: .*403`, "m").test(told), told).to.equal(true);
      }
      expect(told).to.not.match(/^direct: 0$/m);
      // It has seen what the rule allows, and nothing else.
      expect(host.seen.length).to.be.greaterThan(0);
      expect(host.seen.filter(({ url }) => !url.startsWith("/ok/repo"))).to.deep.equal([]);

      const notes = (await bed.events(id)).flatMap(({ kind: { case: name, value } }) =>
        name === "note" && value.topic === "egress" ? [value.message] : [],
      );
      expect(notes.join("\n"))
        .to.match(/\/no\/repo.* \(PATH_NOT_ALLOWED\)/)
        .and.match(/evil\.example:443 \(NOT_ALLOWED\)/)
        .and.match(/169\.254\.169\.254:443 \(BAD_HOST\)/);
      const { events } = await bed.audit.listAuditEvents({ pageSize: 500 });
      const rows = events
        .filter(({ resource, action }) => resource === id && action.startsWith("egress."))
        .map(({ action, outcome }) => `${action} ${outcome}`);
      expect(rows).to.include.members([
        ...["egress.allow ok", "egress.refuse PATH_NOT_ALLOWED"],
        ...["egress.refuse NOT_ALLOWED", "egress.refuse BAD_HOST"],
      ]);
    });
  });
}
