// What a closed outline encloses: the connected pixels of one kind around a point, found run by run.
import { Mask } from "./mask.js";

/**
 * The pixels that are as (x, y) is and hang together with it (4 neighbours).
 *
 * Returns { region: Mask, rect }, or null where `closed` is asked for and they reach the picture's border. A pixel
 * line that is connected by its corners alone encloses, because the flood does not pass between them. No recursion;
 * eight pixels at a time where a byte is of one kind.
 */
export function flood(mask, x, y, closed) {
  const { width, height, stride, bytes } = mask;
  const flip = mask.at(x, y) ? 0xff : 0; // after this, 0 is what spreads
  const region = new Mask(width, height);
  const seen = region.bytes;
  const rect = [x, y, x + 1, y + 1];
  let stack = new Int32Array(4096);
  let depth = 0;

  const free = (column, base) => (((bytes[base + (column >> 3)] ^ flip) >> (7 - (column & 7))) & 1) === 0;

  function push(column, row) {
    if (depth + 2 > stack.length) {
      const wider = new Int32Array(2 * stack.length);
      wider.set(stack);
      stack = wider;
    }
    stack[depth] = column;
    stack[depth + 1] = row;
    depth += 2;
  }

  /** One seed for each run in `row` that the run left…right of a neighbouring row touches. */
  function look(row, left, right) {
    const base = row * stride;
    let inside = false;
    for (let column = left; column < right; ) {
      const at = base + (column >> 3);
      const shut = (bytes[at] ^ flip) | seen[at];
      if ((column & 7) === 0 && column + 8 <= right && (shut === 0 || shut === 0xff)) {
        if (shut === 0 && !inside) push(column, row);
        inside = shut === 0;
        column += 8;
        continue;
      }
      const open = ((shut >> (7 - (column & 7))) & 1) === 0;
      if (open && !inside) push(column, row);
      inside = open;
      column += 1;
    }
  }

  push(x, y);
  while (depth) {
    depth -= 2;
    const row = stack[depth + 1];
    const base = row * stride;
    if (region.at(stack[depth], row)) continue;
    let left = stack[depth];
    let right = left + 1;
    while (left > 0) {
      if ((left & 7) === 0 && bytes[base + (left >> 3) - 1] === flip) left -= 8;
      else if (free(left - 1, base)) left -= 1;
      else break;
    }
    while (right < width) {
      if ((right & 7) === 0 && right + 8 <= width && bytes[base + (right >> 3)] === flip) right += 8;
      else if (free(right, base)) right += 1;
      else break;
    }
    if (closed && (left === 0 || right === width || row === 0 || row === height - 1)) return null;
    region.run(row, left, right, 1);
    rect[0] = Math.min(rect[0], left);
    rect[1] = Math.min(rect[1], row);
    rect[2] = Math.max(rect[2], right);
    rect[3] = Math.max(rect[3], row + 1);
    if (row > 0) look(row - 1, left, right);
    if (row < height - 1) look(row + 1, left, right);
  }
  return { region, rect };
}
