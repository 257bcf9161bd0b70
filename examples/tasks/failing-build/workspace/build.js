import { writeFileSync, mkdirSync } from "node:fs";
import { render } from "./src/page.js";

mkdirSync("dist", { recursive: true });
writeFileSync("dist/index.html", render("World"));
console.log("built dist/index.html");
