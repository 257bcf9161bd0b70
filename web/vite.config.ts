/** How the console is built, and served while it is worked on. */
import { defineConfig } from "vite";
import solid from "vite-plugin-solid";

const backend = process.env.API_BASE_URL ?? "http://127.0.0.1:8080";

/** Same-origin in development too: vite passes the API on to the backend. */
const passOn = { target: backend, changeOrigin: false };

export default defineConfig({
  root: import.meta.dirname,
  plugins: [solid()],
  build: {
    target: "es2023",
    outDir: "dist",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  server: {
    port: 3000,
    strictPort: true,
    proxy: {
      "/v1/stream": { ...passOn, ws: true },
      "/v1": passOn,
      "^/devmesh\\.": passOn,
    },
  },
});
