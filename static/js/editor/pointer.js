// Mouse, pen and fingers on the easel: one paints, two zoom and pan, the wheel zooms, the middle button pans.

const PEN_ERASER = 32;
const RIGHT = 2;
const MIDDLE = 4;
const REACH = { mouse: 10, pen: 14, touch: 22 }; // CSS pixels that count as the same place

export function listen(easel, desk, view, ring, palm) {
  const fingers = new Map();
  let painter = null;
  let panner = null;
  let pinch = null;
  let box = easel.getBoundingClientRect();

  // Asked for once a press and not once a move: asking makes the browser lay the page out.
  const measureBox = () => {
    box = easel.getBoundingClientRect();
  };
  new ResizeObserver(measureBox).observe(easel);
  easel.addEventListener("pointerenter", measureBox);
  const place = (event) => [event.clientX - box.left, event.clientY - box.top];

  function between() {
    const [a, b] = [...fingers.values()];
    return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, far: Math.hypot(a[0] - b[0], a[1] - b[1]) };
  }

  function pan(event, at) {
    panner = { id: event.pointerId, at };
    easel.classList.add("picking");
    ring.hide();
  }

  /** The pen came: whatever the hand that holds it began was a palm. */
  function forgetFingers() {
    if (fingers.has(painter)) {
      desk.hand.abandon();
      painter = null;
    }
    if (panner && fingers.has(panner.id)) panner = null;
    fingers.clear();
    pinch = null;
  }

  easel.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" && palm.rules(event)) return;
    measureBox();
    const at = place(event);
    if (event.pointerType === "pen") {
      forgetFingers();
      palm.pen(event);
    }
    easel.setPointerCapture(event.pointerId);
    easel.focus({ preventScroll: true, focusVisible: false });
    if (event.pointerType === "touch") {
      fingers.set(event.pointerId, at);
      if (fingers.size === 2) {
        if (painter !== null) desk.hand.abandon();
        painter = null;
        panner = null;
        pinch = between();
        ring.hide();
      }
      if (fingers.size >= 2) return;
      if (!palm.fingersPaint) {
        pan(event, at);
        return;
      }
    }
    if (event.buttons & MIDDLE) {
      pan(event, at);
      event.preventDefault();
      return;
    }
    if (painter !== null) return;
    painter = event.pointerId;
    ring.move(...at);
    const erase = (event.buttons & (PEN_ERASER | RIGHT)) !== 0 || event.shiftKey;
    const reach = REACH[event.pointerType] ?? REACH.mouse;
    desk.hand.press(...view.toPicture(...at), { erase, width: palm.width(event), reach });
  });

  easel.addEventListener("pointermove", (event) => {
    if (event.pointerType === "pen") palm.pen(event);
    const at = place(event);
    if (event.pointerType === "touch") {
      if (!fingers.has(event.pointerId)) return;
      fingers.set(event.pointerId, at);
    }
    if (pinch && fingers.size >= 2) {
      const now = between();
      view.pan(now.x - pinch.x, now.y - pinch.y);
      view.zoom(now.far / Math.max(1, pinch.far), now.x, now.y);
      pinch = now;
      return;
    }
    if (panner) {
      if (event.pointerId !== panner.id) return;
      view.pan(at[0] - panner.at[0], at[1] - panner.at[1]);
      panner.at = at;
      return;
    }
    ring.move(...at);
    if (event.pointerId !== painter) {
      if (painter === null) desk.hand.hover(...view.toPicture(...at));
      return;
    }
    // Every place the pointer was since the last frame, so that a quick stroke stays round.
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const step of steps.length ? steps : [event]) {
      desk.hand.drag(...view.toPicture(...place(step)), palm.width(step));
    }
  });

  function up(event) {
    if (event.pointerType === "pen") palm.pen(event);
    fingers.delete(event.pointerId);
    if (fingers.size < 2) pinch = null;
    if (panner?.id === event.pointerId && !(event.buttons & MIDDLE)) {
      panner = null;
      easel.classList.remove("picking");
    }
    if (event.pointerId === painter) {
      painter = null;
      desk.hand.release();
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
      measureBox();
      const lines = event.deltaMode === 1 ? 30 : 1;
      const at = place(event);
      const aside = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (event.shiftKey || aside) view.pan(-lines * event.deltaX, aside ? 0 : -lines * event.deltaY);
      else view.zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY * lines)) / 300), ...at);
      ring.move(...at);
    },
    { passive: false },
  );
}
