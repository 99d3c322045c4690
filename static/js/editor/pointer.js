// Mouse, pen and fingers on the easel: one paints, two zoom and pan, the wheel zooms, the middle button pans.

const PEN_ERASER = 32;
const RIGHT = 2;
const MIDDLE = 4;

export function listen(easel, brush, view, ring) {
  const fingers = new Map();
  let painter = null;
  let panning = null;
  let pinch = null;

  const place = (event) => {
    const box = easel.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  function measure() {
    const [a, b] = [...fingers.values()];
    return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, far: Math.hypot(a[0] - b[0], a[1] - b[1]) };
  }

  easel.addEventListener("pointerdown", (event) => {
    const at = place(event);
    easel.setPointerCapture(event.pointerId);
    easel.focus({ preventScroll: true, focusVisible: false });
    if (event.pointerType === "touch") {
      fingers.set(event.pointerId, at);
      if (fingers.size === 2) {
        brush.abandon();
        painter = null;
        pinch = measure();
        ring.hide();
        return;
      }
      if (fingers.size > 2) return;
    }
    if (event.buttons & MIDDLE) {
      panning = at;
      easel.classList.add("picking");
      event.preventDefault();
      return;
    }
    if (painter !== null) return;
    painter = event.pointerId;
    ring.move(...at);
    const erase = (event.buttons & (PEN_ERASER | RIGHT)) !== 0 || brush.tool === "erase";
    brush.begin(...view.toPicture(...at), erase);
  });

  easel.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at);
    if (pinch && fingers.size >= 2) {
      const now = measure();
      view.pan(now.x - pinch.x, now.y - pinch.y);
      view.zoom(now.far / Math.max(1, pinch.far), now.x, now.y);
      pinch = now;
      return;
    }
    if (panning) {
      view.pan(at[0] - panning[0], at[1] - panning[1]);
      panning = at;
      return;
    }
    ring.move(...at);
    if (event.pointerId !== painter) return;
    // Every place the pointer was since the last frame, so that a quick stroke stays round.
    const steps = event.getCoalescedEvents?.() ?? [];
    const box = easel.getBoundingClientRect();
    for (const step of steps.length ? steps : [event]) {
      brush.move(...view.toPicture(step.clientX - box.left, step.clientY - box.top));
    }
  });

  function up(event) {
    fingers.delete(event.pointerId);
    if (fingers.size < 2) pinch = null;
    if (panning && !(event.buttons & MIDDLE)) {
      panning = null;
      easel.classList.remove("picking");
    }
    if (event.pointerId === painter) {
      painter = null;
      brush.end();
    }
    if (event.pointerType === "touch") ring.hide();
  }

  easel.addEventListener("pointerup", up);
  easel.addEventListener("pointercancel", up);
  easel.addEventListener("pointerleave", () => {
    if (painter === null) ring.hide();
  });
  easel.addEventListener("contextmenu", (event) => event.preventDefault());
  easel.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 30 : 1;
      const at = place(event);
      view.zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY * lines)) / 300), ...at);
      ring.move(...at);
    },
    { passive: false },
  );
}

/** The brush's outline under the pointer, or a crosshair for the keyboard. */
export class Ring {
  #node;
  #brush;
  #view;
  #at = null;

  constructor(node, brush, view) {
    this.#node = node;
    this.#brush = brush;
    this.#view = view;
  }

  move(px, py, cross = false) {
    this.#at = [px, py, cross];
    const size = Math.max(6, this.#brush.size * this.#view.scale);
    const style = this.#node.style;
    style.width = `${size}px`;
    style.height = `${size}px`;
    style.transform = `translate(${px - size / 2}px, ${py - size / 2}px)`;
    this.#node.classList.toggle("erase", this.#brush.tool === "erase");
    this.#node.classList.toggle("cross", cross);
    this.#node.hidden = false;
  }

  refresh() {
    if (this.#at && !this.#node.hidden) this.move(...this.#at);
  }

  hide() {
    this.#node.hidden = true;
  }
}
