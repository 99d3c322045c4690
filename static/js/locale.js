// Times and dates as the person's own region writes them, in the page's language.
const page = document.documentElement.lang || "en";
const locale = navigator.languages.find((one) => one.split("-")[0] === page.split("-")[0]) ?? page;

export const clockTime = (when) => when.toLocaleTimeString(locale, { hour12: false });
export const shortTime = (when) => when.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
export const shortDate = (when) => when.toLocaleDateString(locale, { day: "numeric", month: "long" });
