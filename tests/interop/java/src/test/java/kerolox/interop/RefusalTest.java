package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.Socket;
import java.net.URLDecoder;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Requests that are wrong in typical ways: by which code each is refused. */
@ExtendWith(OwnServer.class)
class RefusalTest {
    private static final int MILLIS = 60_000;

    /**
     * Makes the calls of {@code refusals.tsv} one after the other. Each gets its code on a connection that stays open,
     * and Kerolox, unlike the reference, always says why.
     */
    @Test
    void wrongRequestsAreRefusedByTheirCodes(Server server) throws Exception {
        boolean saysWhy = !"reference".equals(System.getProperty("kerolox.against"));
        List<String> wrong = new ArrayList<>();
        try (Peer broker = new Peer(server.broker()); Peer nameServer = new Peer(server.nameServer())) {
            for (String line : lines()) {
                String[] columns = line.split("\t", -1);
                Peer peer = columns[0].equals("broker") ? broker : nameServer;
                String body = columns.length > 4 ? columns[4] : "";
                RemotingCommand answer = peer.ask(Integer.parseInt(columns[1]), fields(columns[3]), body);
                String remark = answer.getRemark() == null ? "" : answer.getRemark();
                int expected = Integer.parseInt(columns[2]);
                if (answer.getCode() != expected || saysWhy && expected != 0 && remark.isBlank()) {
                    wrong.add(line + " -> " + answer.getCode() + " " + remark);
                }
            }
        }
        assertEquals("", String.join("\n", wrong));
    }

    private static List<String> lines() throws Exception {
        try (InputStream file = RefusalTest.class.getResourceAsStream("/refusals.tsv")) {
            assertNotNull(file);
            return new BufferedReader(new InputStreamReader(file, StandardCharsets.UTF_8)).lines()
                .filter(line -> !line.startsWith("#")).toList();
        }
    }

    private static Map<String, String> fields(String column) {
        Map<String, String> fields = new HashMap<>();
        for (String field : column.isEmpty() ? new String[0] : column.split("&")) {
            String[] parts = field.split("=", 2);
            fields.put(parts[0], URLDecoder.decode(parts[1], StandardCharsets.UTF_8));
        }
        return fields;
    }

    /** One connection, which is not made again. */
    private static final class Peer implements AutoCloseable {
        private final Socket socket;

        Peer(String address) throws Exception {
            String[] parts = address.split(":");
            socket = new Socket(parts[0], Integer.parseInt(parts[1]));
            socket.setSoTimeout(MILLIS);
        }

        RemotingCommand ask(int code, Map<String, String> fields, String body) throws Exception {
            RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
            request.setExtFields(new HashMap<>(fields));
            request.setBody(body.getBytes(StandardCharsets.UTF_8));
            ByteBuffer frame = request.encode();
            socket.getOutputStream().write(frame.array(), frame.arrayOffset(), frame.limit());
            RemotingCommand answer = read();
            // A broker asks, too, and tells.
            while (!answer.isResponseType()) {
                answer = read();
            }
            assertEquals(request.getOpaque(), answer.getOpaque());
            return answer;
        }

        private RemotingCommand read() throws Exception {
            DataInputStream in = new DataInputStream(socket.getInputStream());
            byte[] frame = new byte[in.readInt()];
            in.readFully(frame);
            return RemotingCommand.decode(ByteBuffer.wrap(frame));
        }

        @Override
        public void close() throws Exception {
            socket.close();
        }
    }
}
