/** Starts the console. */
import { render } from "solid-js/web";
import { App } from "./app.tsx";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/tables.css";
import "./styles/forms.css";
import "./styles/log.css";
import "./styles/job.css";
import "./styles/screens.css";

const root = document.getElementById("app");
if (root === null) throw new Error("the page has no #app");
render(() => <App />, root);
