// The activation codes of a linear layer's input and their scale. The vector unit writes words of 16 codes; an MM has
// them played as quads, all of them once for each row block of a channel.
`default_nettype none
module acc_codes #(
  localparam int unsigned AddrW = $clog2(acc_pkg::CodesMax / 16)
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             w_valid_i,
  input  logic [AddrW-1:0] w_addr_i,
  input  logic [127:0]     w_data_i,
  input  logic             scale_valid_i,
  input  logic [31:0]      scale_i,
  output logic [31:0]      scale_o,
  input  logic             play_valid_i,  // begins when all quads before have been read
  output logic             play_ready_o,
  input  logic [AddrW:0]   words_i,       // of a round: four quads each; at least 1
  input  logic [15:0]      rounds_i,      // at least 1
  output logic             quad_valid_o,
  input  logic             quad_ready_i,
  output logic [31:0]      quad_o
);
  logic [127:0] mem [0:acc_pkg::CodesMax/16-1];
  logic [127:0] word_q, word;
  logic [31:0]  scale_q;
  assign scale_o = scale_q;

  // ---- reading: a word a cycle, while the FIFO has room for what is on its way ----
  logic             playing_q, read, read_q, last_word, word_valid, word_take, fifo_ready;
  logic [AddrW-1:0] at_q, last_q;   // word; the round's last
  logic [15:0]      left_q;         // rounds
  logic [2:0]       held_q;         // words on their way or waiting: 4 at most
  logic [1:0]       quad_q;         // of the word
  assign read         = playing_q && !held_q[2];
  assign last_word    = at_q == last_q;
  assign play_ready_o = !playing_q;
  assign word_take    = word_valid && quad_ready_i && quad_q == 2'd3;
  assign quad_valid_o = word_valid;
  assign quad_o       = word[quad_q*32 +: 32];
  acc_fifo #(.Width(128), .Depth(4)) u_fifo (.clk_i, .rst_ni, .in_valid_i(read_q), .in_ready_o(fifo_ready),
                                             .in_data_i(word_q), .out_valid_o(word_valid), .out_ready_i(word_take),
                                             .out_data_o(word));

  always_ff @(posedge clk_i) begin
    if (w_valid_i) mem[w_addr_i] <= w_data_i;
    word_q <= mem[at_q];
    if (scale_valid_i) scale_q <= scale_i;
    if (play_valid_i && play_ready_o) last_q <= AddrW'(words_i - (AddrW + 1)'(1));
    if (!rst_ni) begin
      playing_q <= 1'b0;
      read_q    <= 1'b0;
      at_q      <= '0;
      left_q    <= '0;
      held_q    <= '0;
      quad_q    <= '0;
    end else begin
      read_q <= read;
      held_q <= held_q + 3'(read) - 3'(word_take);
      if (quad_valid_o && quad_ready_i) quad_q <= quad_q + 2'd1;
      if (play_valid_i && play_ready_o) begin
        playing_q <= 1'b1;
        left_q    <= rounds_i;
      end else if (read) begin
        at_q <= last_word ? '0 : at_q + AddrW'(1);
        if (last_word) begin
          left_q    <= left_q - 16'd1;
          playing_q <= left_q != 16'd1;
        end
      end
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) read_q |-> fifo_ready);
`endif
endmodule
`default_nettype wire
