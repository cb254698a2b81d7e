/** The view. */

import { h } from "./dom.js";

export function serverView(root) {
  root.append(h("h1", { text: "server" }));
  return { show() {}, hide() {}, retell() {} };
}
