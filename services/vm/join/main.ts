/** A joining host as a program of its own: what `devmesh runner install` puts on another machine. */
import { runJoin } from "./join.ts";

process.exit(await runJoin(process.env));
