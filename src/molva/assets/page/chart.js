/** A small line chart of the last values of something. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 200;
const HEIGHT = 44;

/** Points of a polyline, the newest at the right edge; `top` is the value at the upper edge. */
export function points(values, capacity, top) {
  const step = WIDTH / (capacity - 1);
  const at = (value, i) => {
    const y = HEIGHT - 2 - (Math.min(value, top) / top) * (HEIGHT - 4);
    return [WIDTH - (values.length - 1 - i) * step, y].map((n) => Math.round(n * 10) / 10);
  };
  return values.map(at).join(" ");
}

function shape(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** `{ element, draw(values, top) }`; holds `capacity` values. Words beside it tell what it shows. */
export function chart(capacity) {
  const line = shape("polyline", { "vector-effect": "non-scaling-stroke" });
  const box = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", "aria-hidden": "true" };
  const element = shape("svg", box, line);
  return { element, draw: (values, top) => line.setAttribute("points", points(values, capacity, top)) };
}
