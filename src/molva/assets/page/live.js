/** The view. */

import { h } from "./dom.js";

export function live(root) {
  root.append(h("h1", { text: "live" }));
  return { show() {}, hide() {}, retell() {} };
}
