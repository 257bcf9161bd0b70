/** Where the program lies that runs inside of sandboxes. */
import { fileURLToPath } from "node:url";

/** The resident: a Perl program without modules, to be put into images and mounts. */
export const residentPath = fileURLToPath(new URL("./resident.pl", import.meta.url));
