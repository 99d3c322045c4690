// Contour lines of a map by marching squares with linear interpolation.

/** Line segments [x0, y0, x1, y1, …] where `values` (width × height bytes) crosses `level`, sampled every `step`. */
export function contour(values, width, height, level, step = 2) {
  const lines = [];
  const columns = Math.floor((width - 1) / step);
  const rows = Math.floor((height - 1) / step);
  const at = (column, row) => values[row * step * width + column * step] - level;
  const cross = (a, b) => a / (a - b);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const a = at(column, row);
      const b = at(column + 1, row);
      const c = at(column + 1, row + 1);
      const d = at(column, row + 1);
      const cell = (a > 0 ? 1 : 0) | (b > 0 ? 2 : 0) | (c > 0 ? 4 : 0) | (d > 0 ? 8 : 0);
      if (cell === 0 || cell === 15) continue;
      const x = column * step;
      const y = row * step;
      const top = () => [x + step * cross(a, b), y];
      const right = () => [x + step, y + step * cross(b, c)];
      const bottom = () => [x + step * cross(d, c), y + step];
      const left = () => [x, y + step * cross(a, d)];
      const pairs = {
        1: [left, top], 14: [left, top], 2: [top, right], 13: [top, right], 4: [right, bottom], 11: [right, bottom],
        8: [bottom, left], 7: [bottom, left], 3: [left, right], 12: [left, right], 6: [top, bottom], 9: [top, bottom],
      }[cell];
      if (pairs) {
        lines.push(...pairs[0](), ...pairs[1]());
      } else {
        // A saddle: the mean of the corners says which two corners hang together.
        const joined = a + b + c + d > 0;
        if ((cell === 5) === joined) lines.push(...left(), ...bottom(), ...top(), ...right());
        else lines.push(...left(), ...top(), ...bottom(), ...right());
      }
    }
  }
  return lines;
}

// Level and the place in the colour table that its line takes.
const LEVELS = [[64, 140], [128, 196], [191, 255]];

/** Strokes the lines at a quarter, a half and three quarters of the map's maximum; higher is brighter. */
export function strokeContours(context, values, table, strength) {
  const { width, height } = context.canvas;
  const line = Math.max(1.5, Math.max(width, height) / 260);
  context.save();
  context.lineCap = "round";
  context.globalAlpha = 0.35 + 0.65 * strength;
  for (const [level, shade] of LEVELS) {
    const path = new Path2D();
    const segments = contour(values, width, height, level);
    for (let i = 0; i < segments.length; i += 4) {
      path.moveTo(segments[i] + 0.5, segments[i + 1] + 0.5);
      path.lineTo(segments[i + 2] + 0.5, segments[i + 3] + 0.5);
    }
    context.strokeStyle = "rgb(0 0 0 / 0.6)";
    context.lineWidth = line * 2;
    context.stroke(path);
    context.strokeStyle = `rgb(${table[3 * shade]} ${table[3 * shade + 1]} ${table[3 * shade + 2]})`;
    context.lineWidth = line;
    context.stroke(path);
  }
  context.restore();
}
