// Matched parts light each other (parts.js). Answers are the form's.
import { join, listen } from "./parts.js";

const press = join(document.querySelector(".board"));
listen(() => press);
