// Pictures and maps as arrays of a canvas' size.

/** Fetches and decodes; a picture that does not come is asked for again, three times. */
export async function bitmap(url, options) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch(url, { credentials: "same-origin" });
      if (!response.ok) throw new Error(`${response.status}`);
      return await createImageBitmap(await response.blob(), options);
    } catch (error) {
      if (attempt === 3) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt));
    }
  }
}

/** RGBA bytes of a bitmap drawn at width × height. */
export function pixels(source, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** One byte a pixel: the red channel of a grey map. */
export async function mapBytes(url, width, height) {
  const decoded = await bitmap(url, { colorSpaceConversion: "none" });
  const { data } = pixels(decoded, width, height);
  decoded.close();
  const values = new Uint8ClampedArray(width * height);
  for (let i = 0; i < values.length; i += 1) values[i] = data[4 * i];
  return values;
}
