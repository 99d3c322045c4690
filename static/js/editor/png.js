// The mask as a file: a PNG of one bit a pixel, written here so that no pixel passes through colour management.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const TABLE = new Uint32Array(256).map((_, n) => {
  let c = n;
  for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

function crc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function chunk(type, data) {
  const out = new Uint8Array(12 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i += 1) out[4 + i] = type.charCodeAt(i);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc(out.subarray(4, 8 + data.length)));
  return out;
}

/** A 1-bit greyscale PNG of exactly the mask's size: white where painted. */
export async function encode(mask) {
  const { width, height, data } = mask;
  const stride = Math.ceil(width / 8);
  const raw = new Uint8Array((stride + 1) * height); // each row begins with filter type 0
  for (let y = 0; y < height; y += 1) {
    if (!data.subarray(y * width, (y + 1) * width).includes(1)) continue;
    const row = y * (stride + 1) + 1;
    for (let x = 0; x < width; x += 1) {
      if (data[y * width + x]) raw[row + (x >> 3)] |= 128 >> (x & 7);
    }
  }
  const stream = new Blob([raw]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 1; // bits a sample; the rest: greyscale, deflate, filters per row, not interlaced
  return new Blob(
    [new Uint8Array(SIGNATURE), chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array(0))],
    { type: "image/png" },
  );
}

/** One byte a pixel from a white-on-black PNG of width × height. */
export async function decode(blob, width, height) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  if (bitmap.width !== width || bitmap.height !== height) throw new Error("size");
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i += 1) values[i] = data[4 * i] >= 128 ? 1 : 0;
  return values;
}

export const supported = typeof CompressionStream === "function" && typeof createImageBitmap === "function";
