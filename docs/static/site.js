// the theme gives the arrows of its menu no name
document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".bd-sidebar summary").forEach(
  (arrow) => arrow.setAttribute("aria-label", "pages of this part")));
