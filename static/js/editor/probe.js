// For measurements (bench/editor.py): the editor of this page, and the bytes that its mask takes.
// Import this module under the address that the page uses, and `probe.desk` is the desk that people see.

export const probe = {
  desk: null,

  /** Bytes of the mask, of undo and redo, and of the screen's copy. */
  get bytes() {
    const { mask, history, view } = this.desk;
    return { mask: mask.bytes.byteLength, history: history.weight, screen: view.bytes };
  },
};
