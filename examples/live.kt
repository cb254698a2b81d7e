// Streams a WAV file to a speech-to-text server and prints what it hears, while it hears it.
//
//     kotlinc live.kt -include-runtime -d live.jar
//     java -jar live.jar ws://127.0.0.1:9876/v1/ws speech.wav
//
// Needs nothing but a JDK 11 or newer and Kotlin. The file must be 16-bit mono, at 8000, 16000, 24000, 44100 or 48000 Hz.

import java.io.File
import java.net.URI
import java.net.http.HttpClient
import java.net.http.WebSocket
import java.nio.ByteBuffer
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionStage
import javax.sound.sampled.AudioInputStream
import javax.sound.sampled.AudioSystem
import kotlin.system.exitProcess

const val FRAMES_PER_SECOND = 10

/** What the server says. The JDK has no JSON parser; a real program would use kotlinx.serialization for the fields. */
class Printer : WebSocket.Listener {
    val ready = CompletableFuture<Unit>()
    val closed = CompletableFuture<Unit>()
    private val text = StringBuilder()

    override fun onText(socket: WebSocket, part: CharSequence, last: Boolean): CompletionStage<*>? {
        text.append(part) // a long message comes in parts
        if (last) {
            val message = text.toString().also { text.clear() }
            when (field(message, "type")) {
                "ready" -> ready.complete(Unit)
                "partial" -> println("... ${field(message, "text")}") // the utterance so far; the next one replaces it
                "final" -> println(">>> ${field(message, "text")}") // the whole utterance, which never changes again
                "error" -> System.err.println(field(message, "message"))
            }
        }
        socket.request(1) // one more message, please
        return null
    }

    override fun onClose(socket: WebSocket, status: Int, reason: String): CompletionStage<*>? = end(null)

    override fun onError(socket: WebSocket, error: Throwable) { end(error) }

    private fun end(error: Throwable?): CompletionStage<*>? {
        ready.completeExceptionally(error ?: IllegalStateException("the server ended the session"))
        if (error == null) closed.complete(Unit) else closed.completeExceptionally(error)
        return null
    }

    private fun field(json: String, name: String): String =
        Regex("\"$name\"\\s*:\\s*\"((?:[^\"\\\\]|\\\\.)*)\"").find(json)?.groupValues?.get(1).orEmpty()
}

/** Sends the audio as fast as it would be spoken, then asks for the last final. */
fun send(socket: WebSocket, audio: AudioInputStream) {
    val rate = audio.format.sampleRate.toInt()
    socket.sendText("""{"type":"configure","sample_rate":$rate}""", true).join() // else it is taken for 48 kHz
    while (true) {
        val frame = audio.readNBytes(rate / FRAMES_PER_SECOND * 2)
        if (frame.isEmpty()) break
        socket.sendBinary(ByteBuffer.wrap(frame), true).join()
        Thread.sleep(1000L / FRAMES_PER_SECOND)
    }
    socket.sendText("""{"type":"stop"}""", true).join()
}

fun main(args: Array<String>) {
    if (args.size != 2) {
        System.err.println("usage: live ws://127.0.0.1:9876/v1/ws FILE.wav")
        exitProcess(2)
    }
    val audio = AudioSystem.getAudioInputStream(File(args[1]))
    require(audio.format.channels == 1 && audio.format.sampleSizeInBits == 16) { "not 16-bit mono" }
    val printer = Printer()
    val socket = HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI(args[0]), printer).join()
    printer.ready.join() // the server speaks first, as soon as it has a place for us
    send(socket, audio) // meanwhile the printer prints, in another thread
    printer.closed.join() // the server closes the connection after the last final
    exitProcess(0) // the client's threads would live on for a while
}
