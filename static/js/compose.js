// A picture with a map on it, in one of three views. All canvases of a trial have one size.
import * as tables from "./colormaps.js";
import { strokeContours } from "./contour.js";

export const VIEWS = ["overlay", "spotlight", "contour"];

/**
 * Draws on `context`. `picture`: ImageData; `map`: one byte a pixel or null for the bare picture; `strength` in [0, 1]:
 * how opaque the colours are, how black the dark is, how strong the lines are; `colours`: a name in colormaps.js.
 */
export function compose(context, picture, map, view, strength, colours = "cividis") {
  const table = tables[colours] ?? tables.cividis;
  if (!map) {
    context.putImageData(picture, 0, 0);
    return;
  }
  if (view === "contour") {
    context.putImageData(picture, 0, 0);
    strokeContours(context, map, table, strength);
    return;
  }
  const out = context.createImageData(picture.width, picture.height);
  const from = picture.data;
  const to = out.data;
  if (view === "spotlight") {
    for (let i = 0, p = 0; i < map.length; i += 1, p += 4) {
      const light = 1 - strength + (strength * map[i]) / 255;
      to[p] = from[p] * light;
      to[p + 1] = from[p + 1] * light;
      to[p + 2] = from[p + 2] * light;
      to[p + 3] = 255;
    }
  } else {
    const rest = 1 - strength;
    for (let i = 0, p = 0; i < map.length; i += 1, p += 4) {
      const shade = 3 * map[i];
      to[p] = from[p] * rest + table[shade] * strength;
      to[p + 1] = from[p + 1] * rest + table[shade + 1] * strength;
      to[p + 2] = from[p + 2] * rest + table[shade + 2] * strength;
      to[p + 3] = 255;
    }
  }
  context.putImageData(out, 0, 0);
}
