/** A small line chart of the last values of something. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 200;
const HEIGHT = 44;

/** Points of the polyline and of the area below it, newest at the right edge; `top` is the value at the upper edge. */
export function points(values, capacity, top) {
  const step = WIDTH / (capacity - 1);
  const at = values.map((value, i) => {
    const x = WIDTH - (values.length - 1 - i) * step;
    return [x, HEIGHT - 2 - (Math.min(value, top) / top) * (HEIGHT - 4)].map((n) => Math.round(n * 10) / 10);
  });
  const line = at.map((each) => each.join(",")).join(" ");
  const area = at.length ? `${at[0][0]},${HEIGHT} ${line} ${WIDTH},${HEIGHT}` : "";
  return { line, area };
}

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** `{ element, draw(values, top) }`; holds `capacity` values. What it shows is told in words beside it. */
export function chart(capacity) {
  const svg = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", "aria-hidden": "true" };
  const element = shape("svg", svg);
  const area = shape("polygon", { class: "area" });
  const line = shape("polyline", { class: "line", "vector-effect": "non-scaling-stroke" });
  element.append(area, line);
  const draw = (values, top) => {
    const drawn = points(values, capacity, top);
    line.setAttribute("points", drawn.line);
    area.setAttribute("points", drawn.area);
  };
  return { element, draw };
}
