import com.baidu.aip.imagesearch.AipImageSearch;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import org.json.JSONObject;

/** The runner of the vendor's Java SDK: see ../../../../README.md. */
public final class Run {
  private Run() {}

  public static void main(String[] arguments) throws Exception {
    AipImageSearch client =
        new AipImageSearch("1", System.getenv("API_KEY"), System.getenv("SECRET_KEY"));
    client.setHttpProxy("127.0.0.1", Integer.parseInt(System.getenv("PROXY_PORT")));
    client.setConnectionTimeoutInMillis(60_000);
    client.setSocketTimeoutInMillis(60_000);
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JSONObject told = new JSONObject();
      try {
        told.put("answer", call(client, new JSONObject(line)));
      } catch (RuntimeException error) {
        told.put("raised", String.valueOf(error));
      }
      out.println(told);
    }
  }

  private static JSONObject call(AipImageSearch client, JSONObject asked) {
    HashMap<String, String> options = new HashMap<>();
    JSONObject given = asked.getJSONObject("options");
    for (String name : given.keySet()) {
      options.put(name, given.getString(name));
    }
    String text = asked.optString("text");
    String brief = asked.optString("brief");
    byte[] image =
        asked.has("image") ? Base64.getDecoder().decode(asked.getString("image")) : null;
    return switch (asked.getString("call")) {
      case "productAdd" -> client.productAdd(image, brief, options);
      case "productAddUrl" -> client.productAddUrl(text, brief, options);
      case "productSearch" -> client.productSearch(image, options);
      case "productSearchUrl" -> client.productSearchUrl(text, options);
      case "productUpdate" -> client.productUpdate(image, options);
      case "productUpdateUrl" -> client.productUpdateUrl(text, options);
      case "productUpdateContSign" -> client.productUpdateContSign(text, options);
      case "productDeleteByImage" -> client.productDeleteByImage(image, options);
      case "productDeleteByUrl" -> client.productDeleteByUrl(text, options);
      case "productDeleteBySign" -> client.productDeleteBySign(text, options);
      default -> throw new IllegalArgumentException(asked.getString("call"));
    };
  }
}
