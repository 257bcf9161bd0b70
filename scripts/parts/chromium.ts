/** The browser that tests of the web interface drive. */
import { ensureBinary } from "./debian.ts";
import { type Found, here, type PartOptions } from "./part.ts";

/** A browser, and how it is started so that it runs anywhere and talks to nobody by itself. */
export interface Chromium {
  executablePath: string;
  args: string[];
}

const launchArgs = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Finds Chromium, or installs Debian's as root. */
export async function findChromium(options: PartOptions = {}): Promise<Found<Chromium>> {
  const path = await ensureBinary("chromium", ["chromium"], options);
  return path.ok ? here({ executablePath: path.value, args: [...launchArgs] }) : path;
}
