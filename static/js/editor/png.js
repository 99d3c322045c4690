// The mask as a file: a PNG of one bit a pixel, written here so that no pixel passes through colour management.
import { Mask } from "./mask.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const SLICE = 16 * 1024; // bytes packed at a time: about half a millisecond, then whoever waits has a turn
const STRIP = 256; // rows read at a time, so that a large picture is never unpacked as a whole
const TABLE = new Uint32Array(256).map((_, n) => {
  let c = n;
  for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

export const supported = typeof CompressionStream === "function" && typeof createImageBitmap === "function";

function crc(c, bytes) {
  for (let i = 0; i < bytes.length; i += 1) c = TABLE[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return c;
}

/** Length, type, data and checksum; `check`: the checksum over type and data before its last inversion. */
function chunk(type, parts, check = null) {
  const name = Uint8Array.from(type, (letter) => letter.charCodeAt(0));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, parts.reduce((sum, part) => sum + part.length, 0));
  const end = new DataView(new ArrayBuffer(4));
  end.setUint32(0, ((check ?? parts.reduce(crc, crc(0xffffffff, name))) ^ 0xffffffff) >>> 0);
  return [length, name, ...parts, end];
}

/** Lets waiting events and frames go first; unlike timers this is not slowed down in a hidden page. */
function breath() {
  return new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      done();
    };
    port2.postMessage(null);
  });
}

/** A 1-bit greyscale PNG of exactly the mask's size, white where painted, as the mask is at the call. */
export async function encode({ width, height, stride, bytes }) {
  const row = Math.ceil(width / 8);
  const raw = new Uint8Array((row + 1) * height); // each row begins with filter type 0
  for (let y = 0; y < height; y += 1) raw.set(bytes.subarray(y * stride, y * stride + row), y * (row + 1) + 1);
  const packer = new CompressionStream("deflate");
  const parts = [];
  let check = crc(0xffffffff, Uint8Array.from("IDAT", (letter) => letter.charCodeAt(0)));
  const reading = (async () => {
    const reader = packer.readable.getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      parts.push(read.value);
      check = crc(check, read.value);
    }
  })();
  const writer = packer.writable.getWriter();
  for (let at = 0; at < raw.length; at += SLICE) {
    await breath();
    await writer.write(raw.subarray(at, at + SLICE));
  }
  await writer.close();
  await reading;
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 1; // bits a sample; the rest: greyscale, deflate, filters per row, not interlaced
  return new Blob(
    [new Uint8Array(SIGNATURE), ...chunk("IHDR", [header]), ...chunk("IDAT", parts, check), ...chunk("IEND", [])],
    { type: "image/png" },
  );
}

/** A Mask from a white-on-black PNG of width × height. */
export async function decode(blob, width, height) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  if (bitmap.width !== width || bitmap.height !== height) throw new Error("size");
  const mask = new Mask(width, height);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = Math.min(STRIP, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += STRIP) {
    context.clearRect(0, 0, width, STRIP);
    context.drawImage(bitmap, 0, -top);
    const rows = Math.min(STRIP, height - top);
    const { data } = context.getImageData(0, 0, width, rows);
    for (let y = 0; y < rows; y += 1) {
      const base = (top + y) * mask.stride;
      for (let x = 0; x < width; x += 1) {
        if (data[4 * (y * width + x)] >= 128) mask.bytes[base + (x >> 3)] |= 128 >> (x & 7);
      }
    }
  }
  bitmap.close();
  return mask;
}
