/** The view. */

import { json } from "./api.js";
import { h } from "./dom.js";
import { transcriptView } from "./transcript.js";

export function files(root) {
  const place = h("div");
  root.append(h("h1", { text: "files" }), place);
  const transcript = transcriptView(place);
  let open = "";
  return {
    async show(id) {
      root.firstElementChild.hidden = Boolean(id);
      if (id === open) return;
      open = id;
      if (id) transcript.open(await json(`/jobs/${id}`));
      else transcript.close();
    },
    hide: () => {
      transcript.close();
      open = "";
    },
    retell: () => transcript.retell(),
  };
}
