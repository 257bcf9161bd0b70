/** Traces reach the collector that the operator names, from services apart and from the platform in one. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { type Collector, kinds, type SeenSpan, startCollector } from "../mesh/otlp-collector.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { startServices } from "./services.ts";
import { startUp } from "./up.ts";

describe("tracing", function () {
  this.timeout(240_000);
  let folder: TempFolder;
  let collector: Collector;
  beforeEach(async () => {
    folder = tempFolder();
    collector = await startCollector();
  });
  afterEach(() => {
    collector[Symbol.dispose]();
    folder[Symbol.dispose]();
  });

  const env = () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint });

  /** What was done for `GetSystem`, which asks the other parts how they are. */
  function chains(): { asked: SeenSpan; client: SeenSpan; server: SeenSpan }[] {
    const of = (name: string, kind: number) =>
      collector.spans.filter((span) => span.name === name && span.kind === kind);
    const plane = "devmesh.mcp.v1.ContextService/GetStatus";
    return of("devmesh.api.v1.SystemService/GetSystem", kinds.server).flatMap((asked) =>
      of(plane, kinds.client)
        .filter(({ parentId }) => parentId === asked.spanId)
        .flatMap((client) =>
          of(plane, kinds.server)
            .filter(({ parentId }) => parentId === client.spanId)
            .map((server) => ({ asked, client, server })),
        ),
    );
  }

  it("joins the spans of a call that goes through two services", async () => {
    const dataDir = join(folder.path, "services");
    mkdirSync(dataDir);
    const services = await startServices(dataDir, env());
    try {
      await services.devmesh.system.get();
    } finally {
      // What a service has not sent yet is sent when it stops.
      await services.stop();
    }
    const [chain, ...more] = chains();
    expect(more).to.deep.equal([]);
    expect(chain?.asked.service).to.equal("api");
    expect(chain?.client.service).to.equal("api");
    expect(chain?.server.service).to.equal("mcp");
    expect(chain?.server.traceId).to.equal(chain?.asked.traceId);
  });

  it("joins them where the platform is one process", async () => {
    const up = await startUp({ dataDir: join(folder.path, "up"), env: env() });
    try {
      await up.devmesh.system.get();
    } finally {
      await up.stop();
    }
    const [chain] = chains();
    expect(chain?.server.service).to.equal("devmesh");
    expect(chain?.server.traceId).to.equal(chain?.asked.traceId);
  });
});
