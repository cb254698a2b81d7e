/** The transcript of a job. */

import { h } from "./dom.js";

export function transcriptView(root) {
  return {
    open(job) {
      root.replaceChildren(h("h1", {}, job.filename ?? ""));
    },
    close() {
      root.replaceChildren();
    },
    retell() {},
  };
}
