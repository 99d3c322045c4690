// Packs a mask beside the page, so that saving never holds a stroke up.
import { encode } from "./png.js";

self.onmessage = async ({ data }) => {
  self.postMessage({ number: data.number, blob: await encode(data.mask) });
};
