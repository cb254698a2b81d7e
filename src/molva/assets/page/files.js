/** The view. */

import { h } from "./dom.js";

export function files(root) {
  root.append(h("h1", { text: "files" }));
  return { show() {}, hide() {}, retell() {} };
}
