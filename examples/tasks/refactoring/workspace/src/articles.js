function slugOf(title) {
  return title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
}

export function articlePath(title) {
  return `/articles/${slugOf(title)}`;
}
