// The API's description, drawn by Swagger UI (its bundle is the page's other script).

import { cookie } from "../http.js";

const place = document.getElementById("api-docs");

function withCsrf(request) {
  if (request.method && request.method !== "GET") request.headers["X-CSRFToken"] = cookie("csrftoken");
  return request;
}

window.SwaggerUIBundle({
  url: place.dataset.schema,
  domNode: place,
  presets: [window.SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor: withCsrf,
});
