/** The floor's process of the inference bench: node:http in front, an undici pool behind, no more. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Pool } from "undici";

const upstream = new Pool(process.argv[2] ?? "", { connections: 64, pipelining: 1 });

const server = createServer((req, res) => {
  upstream
    .request({
      method: req.method === "GET" ? "GET" : "POST",
      path: req.url ?? "/",
      headers: {
        "content-type": "application/json",
        "content-length": req.headers["content-length"] ?? "0",
      },
      body: req,
    })
    .then(({ statusCode, headers, body }) => {
      res.writeHead(statusCode, headers);
      body.pipe(res);
    })
    .catch((error: unknown) => {
      console.error(error);
      res.destroy();
    });
});
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit(0));
